"use strict";
(function () {
  const study = JSON.parse(document.getElementById("study").textContent);
  const items = study.items;
  const store = "creativity-lens/" + study.study + "/" + study.form;
  const at = (id) => document.getElementById(id);
  // A second press within this time is a slip, not a judgement of the next pair.
  const PAUSE = 250;

  let state = fresh();
  let shownAt = null; // when the pair came into view; null while the page is hidden
  let turnedAt = -PAUSE;

  function fresh() {
    return { rater: "", group: "", place: 0, choices: {}, times: {}, began: "" };
  }

  // --- keeping answers ---

  function keep() {
    try {
      localStorage.setItem(store, JSON.stringify(state));
    } catch (error) {
      warn("This browser does not keep your answers. Do not close or reload this page before you have downloaded them.");
    }
  }

  function recall() {
    let found = null;
    try {
      found = JSON.parse(localStorage.getItem(store));
    } catch (error) {
      return;
    }
    if (!found || typeof found !== "object" || typeof found.rater !== "string" || !found.rater) return;
    const known = new Set(items.map((item) => item.id));
    state.rater = found.rater;
    state.group = study.groups.includes(found.group) ? found.group : "";
    state.began = String(found.began || "");
    for (const id of Object.keys(found.choices || {})) {
      if (known.has(id) && ["left", "right", "tie"].includes(found.choices[id])) state.choices[id] = found.choices[id];
    }
    for (const id of Object.keys(found.times || {})) {
      if (known.has(id) && found.times[id] >= 0) state.times[id] = Number(found.times[id]);
    }
    state.place = Math.min(Math.max(Math.trunc(Number(found.place)) || 0, 0), items.length);
  }

  function warn(message) {
    at("warning").textContent = message;
    at("warning").hidden = false;
  }

  // --- time on a pair, without the time in which the page was hidden ---

  function stopClock() {
    if (shownAt === null || state.place >= items.length) return;
    const id = items[state.place].id;
    state.times[id] = (state.times[id] || 0) + performance.now() - shownAt;
    shownAt = null;
  }

  function startClock() {
    shownAt = !document.hidden && !at("work").hidden ? performance.now() : null;
  }

  // --- what is on the screen ---

  function show(name) {
    for (const part of ["start", "work", "done"]) at(part).hidden = part !== name;
  }

  function answered() {
    return items.filter((item) => state.choices[item.id]).length;
  }

  function turn(place) {
    stopClock();
    state.place = Math.min(Math.max(place, 0), items.length);
    keep();
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
    at("progress").value = answered();
    at("prompt-block").hidden = !item.prompt;
    // Texts are hostile: textContent alone puts them here.
    at("prompt").textContent = item.prompt;
    at("left-text").textContent = item.left;
    at("right-text").textContent = item.right;
    for (const button of document.querySelectorAll("[data-choice]")) {
      button.setAttribute("aria-pressed", String(state.choices[item.id] === button.dataset.choice));
    }
    at("back").disabled = state.place === 0;
    at("next").disabled = !state.choices[item.id];
    window.scrollTo(0, 0);
    at("place").focus({ preventScroll: true });
    startClock();
  }

  function choose(choice) {
    if (performance.now() - turnedAt < PAUSE) return;
    stopClock();
    state.choices[items[state.place].id] = choice;
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

  function download() {
    stopClock();
    startClock();
    keep();
    const slug = state.rater.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 40) || "rater";
    const link = document.createElement("a");
    const file = new Blob([JSON.stringify(answers(), null, 1) + "\n"], { type: "application/json" });
    link.href = URL.createObjectURL(file);
    link.download = "answers-" + study.study + "-form-" + study.form + "-" + slug + ".json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    at("status").textContent = "Downloaded " + answered() + " of " + items.length + " answers.";
  }

  // --- what a rater does ---

  at("who").addEventListener("submit", (event) => {
    event.preventDefault();
    // Encoded and decoded, so that half of a surrogate pair cannot reach the file.
    const bytes = new TextEncoder().encode(at("rater").value.trim());
    state.rater = new TextDecoder().decode(bytes);
    state.group = study.groups.length ? at("group").value : "";
    if (!state.rater) {
      warn("Please fill in your rater id.");
      at("rater").focus();
      return;
    }
    at("warning").hidden = true;
    state.began = new Date().toISOString();
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
  at("anew").addEventListener("click", () => {
    if (!window.confirm("Clear all answers on this page? Download them first.")) return;
    try {
      localStorage.removeItem(store);
    } catch (error) {
      // Nothing was kept, so nothing is left to clear.
    }
    state = fresh();
    at("who").reset();
    show("start");
    at("rater").focus();
  });

  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
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
      startClock();
    }
  });
  window.addEventListener("pagehide", () => {
    stopClock();
    if (state.rater) keep();
  });

  recall();
  if (state.rater) {
    turn(state.place);
    at("status").textContent = "Your earlier answers are here. You go on where you were.";
  } else {
    show("start");
  }
})();
