"use strict";
(function () {
  const study = JSON.parse(document.getElementById("study").textContent);
  const items = study.items;
  const store = "creativity-lens/" + study.study + "/" + study.form;
  const at = (id) => document.getElementById(id);
  // A second press within this time is a slip, not a judgement of the next pair.
  const PAUSE = 250;

  let state = fresh();
  let added = {}; // milliseconds on pairs which the store does not know of yet
  let changed = false; // whether something else is to be kept
  let moved = false; // whether the place is to be kept: two tabs stand in two places
  let shownAt = null; // when the pair came into view; null while the page is hidden
  let turnedAt = -PAUSE;

  // A session is what one rater does from Begin to starting anew; it may be open in several tabs.
  function fresh() {
    return { session: "", since: 0, rater: "", group: "", began: "", place: 0, choices: {}, made: {}, times: {}, sent: 0 };
  }

  // The time, but always later than all that has happened, even if the clock was set back.
  function later() {
    const past = Math.max(state.since, state.sent, ...Object.values(state.made));
    return Math.max(Date.now(), past + 1);
  }

  // --- keeping answers ---

  // What is in the store, by whichever tab; null if nothing is, or nothing that makes sense.
  function stored() {
    let found = null;
    try {
      found = JSON.parse(localStorage.getItem(store));
    } catch (error) {
      return null;
    }
    if (!found || typeof found !== "object" || typeof found.rater !== "string") return null;
    const count = (number) => (Number.isSafeInteger(number) && number > 0 ? number : 0);
    const own = fresh();
    own.session = String(found.session || found.rater);
    own.since = count(found.since);
    own.sent = count(found.sent);
    own.rater = found.rater;
    own.group = study.groups.includes(found.group) ? found.group : "";
    own.began = String(found.began || "");
    own.place = Math.min(count(found.place), items.length);
    const [choices, made, times] = [found.choices || {}, found.made || {}, found.times || {}];
    for (const { id } of items) {
      if (["left", "right", "tie"].includes(choices[id])) {
        own.choices[id] = choices[id];
        own.made[id] = count(made[id]);
      }
      if (times[id] >= 0) own.times[id] = Number(times[id]);
    }
    return own;
  }

  // Takes in what other tabs have kept: of each pair the later choice counts. False if they have
  // gone on to another session; then this tab follows.
  function absorb(found) {
    if (!found) {
      changed = changed || state.rater !== "";
      return true;
    }
    if (found.session !== state.session) {
      if (found.since < state.since) {
        changed = true;
        return true;
      }
      state = found;
      added = {};
      changed = moved = false;
      shownAt = null;
      return false;
    }
    state.since = Math.max(state.since, found.since);
    state.sent = Math.max(state.sent, found.sent);
    for (const { id } of items) {
      const [here, there] = [state.made[id] ?? -1, found.made[id] ?? -1];
      if (there > here) {
        state.choices[id] = found.choices[id];
        state.made[id] = there;
      } else if (here > there) {
        changed = true;
      }
      if (id in found.times) {
        const own = added[id] || 0;
        state.times[id] = Math.max((state.times[id] || 0) - own, found.times[id]) + own;
      }
    }
    return true;
  }

  // Writes what changed here and nothing else, so that a tab left behind undoes nothing. False if
  // another session has begun.
  function keep() {
    const found = stored();
    if (!absorb(found)) {
      resume();
      return false;
    }
    if (!changed && !moved && !Object.keys(added).length) return true;
    const same = found && found.session === state.session;
    try {
      localStorage.setItem(store, JSON.stringify({ ...state, place: same && !moved ? found.place : state.place }));
      added = {};
      changed = moved = false;
    } catch (error) {
      warn("This browser does not keep your answers. Do not close or reload this page before you have downloaded them.");
    }
    return true;
  }

  // After another tab wrote, or when this one comes back.
  function catchUp() {
    if (!absorb(stored())) return resume();
    if (changed && !keep()) return;
    paint();
  }

  function warn(message) {
    at("warning").textContent = message;
    at("warning").hidden = false;
  }

  // --- time on a pair, without the time in which the page was hidden ---

  function stopClock() {
    if (shownAt === null || state.place >= items.length) return;
    const id = items[state.place].id;
    const spent = performance.now() - shownAt;
    state.times[id] = (state.times[id] || 0) + spent;
    added[id] = (added[id] || 0) + spent;
    shownAt = null;
  }

  function startClock() {
    shownAt = !document.hidden && !at("work").hidden ? performance.now() : null;
  }

  // --- what is on the screen ---

  function show(name) {
    for (const part of ["start", "work", "done"]) at(part).hidden = part !== name;
    for (const place of document.querySelectorAll(".name")) place.textContent = state.rater;
  }

  function answered() {
    return items.filter((item) => state.choices[item.id]).length;
  }

  // What other tabs may change about the pair in view.
  function paint() {
    const item = items[state.place];
    if (at("work").hidden || !item) return;
    at("progress").value = answered();
    for (const button of document.querySelectorAll("[data-choice]")) {
      button.setAttribute("aria-pressed", String(state.choices[item.id] === button.dataset.choice));
    }
    at("next").disabled = !state.choices[item.id];
  }

  function resume() {
    if (at("leave").open) at("leave").close();
    if (state.rater) {
      turn(state.place);
      at("status").textContent = "Your earlier answers are here. You go on where you were.";
    } else {
      at("who").reset();
      show("start");
    }
  }

  function turn(place) {
    stopClock();
    const next = Math.min(Math.max(place, 0), items.length);
    moved = moved || next !== state.place;
    state.place = next;
    if (!keep()) return;
    turnedAt = performance.now();
    if (state.place === items.length) {
      const open = items.findIndex((item) => !state.choices[item.id]);
      if (open >= 0) return turn(open);
      show("done");
      at("thanks").focus();
      return;
    }
    const item = items[state.place];
    show("work");
    at("place").textContent = "Pair " + (state.place + 1) + " of " + items.length;
    at("prompt-block").hidden = !item.prompt;
    // Texts are hostile: textContent alone puts them here.
    at("prompt").textContent = item.prompt;
    at("left-text").textContent = item.left;
    at("right-text").textContent = item.right;
    paint();
    at("back").disabled = state.place === 0;
    window.scrollTo(0, 0);
    at("place").focus({ preventScroll: true });
    startClock();
  }

  function choose(choice) {
    if (performance.now() - turnedAt < PAUSE) return;
    stopClock();
    const id = items[state.place].id;
    state.choices[id] = choice;
    state.made[id] = later();
    changed = true;
    at("status").textContent = "Saved: " + choice + ".";
    turn(state.place + 1);
  }

  // --- the file ---

  function checksum(parts) {
    let found = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(parts.join("\n"))) {
      found = Math.imul(found ^ byte, 0x01000193) >>> 0;
    }
    return found.toString(16).padStart(8, "0");
  }

  function answers() {
    const given = items.filter((item) => state.choices[item.id]).map((item) => ({
      id: item.id,
      choice: state.choices[item.id],
      ms: Math.round(state.times[item.id] || 0),
    }));
    const head = ["1", study.study, study.form, state.rater, state.group];
    return {
      format: "creativity-lens annotation",
      version: 1,
      study: study.study,
      form: study.form,
      rater: state.rater,
      group: state.group,
      began: state.began,
      exported: new Date().toISOString(),
      complete: given.length === items.length,
      answers: given,
      checksum: checksum(head.concat(given.map((a) => a.id + ":" + a.choice + ":" + a.ms))),
    };
  }

  // The name of the file; nothing if another session has begun in another tab.
  function download() {
    stopClock();
    startClock();
    if (!keep()) return "";
    const slug = state.rater.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 40) || "rater";
    const link = document.createElement("a");
    const file = new Blob([JSON.stringify(answers(), null, 1) + "\n"], { type: "application/json" });
    link.href = URL.createObjectURL(file);
    link.download = "answers-" + study.study + "-form-" + study.form + "-" + slug + ".json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    at("status").textContent = "Downloaded " + answered() + " of " + items.length + " answers.";
    state.sent = later();
    changed = true;
    keep();
    return link.download;
  }

  // --- another rater at the same computer ---

  function askToLeave() {
    stopClock();
    startClock();
    if (!keep()) return;
    const given = answered();
    const open = items.filter((item) => state.choices[item.id] && state.made[item.id] > state.sent).length;
    const lost = (open === 1 ? "One of them is" : open + " of them are") + " in no file yet and would be lost: download the file now, and send it to the person who asked you.";
    const sent = "They are all in the file that was downloaded: send it to the person who asked you, if you have not yet.";
    at("leave-words").textContent = given
      ? "answered " + given + " of " + items.length + " pairs. Starting anew clears these answers from this browser. " + (open ? lost : sent)
      : "answered no pair yet.";
    at("leave-save").hidden = !open;
    at("leave").showModal();
  }

  function startAnew(note) {
    at("leave").close();
    const since = later();
    state = fresh();
    state.since = since;
    added = {};
    shownAt = null;
    // Not removed: a tab that still holds the answers must see that they were cleared.
    changed = moved = true;
    keep();
    at("who").reset();
    at("note").textContent = note;
    show("start");
    window.scrollTo(0, 0);
    at("asked").focus({ preventScroll: true }); // the next rater reads from the top
  }

  // --- what a rater does ---

  at("who").addEventListener("submit", (event) => {
    event.preventDefault();
    // Encoded and decoded, so that half of a surrogate pair cannot reach the file.
    const bytes = new TextEncoder().encode(at("rater").value.trim());
    const rater = new TextDecoder().decode(bytes);
    if (!rater) {
      warn("Please fill in your rater id.");
      at("rater").focus();
      return;
    }
    at("warning").hidden = true;
    if (!absorb(stored())) return resume(); // somebody has begun in another tab
    state.rater = rater;
    state.group = study.groups.length ? at("group").value : "";
    state.session = Array.from(crypto.getRandomValues(new Uint32Array(2)), (n) => n.toString(16)).join("-");
    state.since = later();
    state.began = new Date().toISOString();
    changed = moved = true;
    at("note").textContent = "";
    turn(0);
  });
  for (const button of document.querySelectorAll("[data-choice]")) {
    button.addEventListener("click", () => choose(button.dataset.choice));
  }
  at("back").addEventListener("click", () => turn(state.place - 1));
  at("next").addEventListener("click", () => turn(state.place + 1));
  at("save").addEventListener("click", download);
  at("download").addEventListener("click", download);
  at("review").addEventListener("click", () => turn(items.length - 1));
  at("not-you").addEventListener("click", askToLeave);
  at("anew").addEventListener("click", askToLeave);
  at("leave-stay").addEventListener("click", () => at("leave").close());
  at("leave-clear").addEventListener("click", () => startAnew(""));
  at("leave-save").addEventListener("click", () => {
    const file = download();
    if (file) startAnew("The answers so far were downloaded as " + file + ". Send this file to the person who asked.");
  });

  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (at("leave").open) return;
    if (event.target.matches("input[type=text], select, textarea") || !at("keys").checked) return;
    if (event.key === "Backspace" && !at("done").hidden) {
      event.preventDefault();
      return turn(items.length - 1);
    }
    if (at("work").hidden) return;
    const chosen = { 1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", 3: "tie" }[event.key];
    if (chosen && (chosen !== "tie" || study.ties)) {
      event.preventDefault();
      choose(chosen);
    } else if (event.key === "Backspace") {
      event.preventDefault();
      if (state.place > 0) turn(state.place - 1);
    }
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      stopClock();
      if (state.rater) keep();
    } else {
      catchUp();
      startClock();
    }
  });
  window.addEventListener("pagehide", () => {
    stopClock();
    if (state.rater) keep();
  });
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    catchUp();
    startClock();
  });
  window.addEventListener("storage", (event) => {
    if (event.key === store || event.key === null) catchUp();
  });

  absorb(stored());
  resume();
})();
