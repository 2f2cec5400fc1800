"""The exceptions this package raises on purpose.

    CreativityLensError
    ├── InputError (also a ValueError)        what the caller gave cannot be used
    │   ├── DataError                         a file's content is wrong; names the file and the line
    │   └── DirectionMismatchError            a direction does not belong to this model
    ├── ModelError (also a RuntimeError)      a model could not be loaded or driven
    │   └── CacheError                        the converted model on disk is damaged
    └── MissingDependencyError (also an ImportError)   an optional package is not installed

Every message is one or two sentences that say what was asked, what was found and what to do.
The command line shows the message alone and exits with code 2.
"""


class CreativityLensError(Exception):
    """Base class of every error raised on purpose by this package."""


class InputError(CreativityLensError, ValueError):
    """An argument, option or file cannot be used as given."""


class DataError(InputError):
    """The content of a file is not what its format promises."""


class DirectionMismatchError(InputError):
    """A direction was extracted from another model than the one it is used with."""


class ModelError(CreativityLensError, RuntimeError):
    """A model could not be loaded or lacks something that is needed of it."""


class CacheError(ModelError):
    """A converted model in the cache folder fails its digest check."""


class MissingDependencyError(CreativityLensError, ImportError):
    """An optional package is needed; the message names the command that installs it."""
