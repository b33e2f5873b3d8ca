
"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const at = (id) => document.getElementById(id);
  const questions = ["emotion", "intensity", "believability"];
  const pixels = new Map(content.faces.map((face) => [face.code, face.png]));
  let rater = "", order = [], answers = {}, place = 0, shownAt = 0, kept = true;

  // The order of a rater: shuffled by a generator that the names of the set and of the rater seed (FNV-1a, mulberry32, Fisher-Yates).
  const seedOf = (text) => {
    let hash = 2166136261;
    for (const sign of text) hash = Math.imul(hash ^ sign.codePointAt(0), 16777619);
    return hash >>> 0;
  };
  const shuffled = (codes, seed) => {
    const next = () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
    const deck = [...codes];
    for (let last = deck.length - 1; last > 0; last--) {
      const other = Math.floor(next() * (last + 1));
      [deck[last], deck[other]] = [deck[other], deck[last]];
    }
    return deck;
  };

  const key = () => `mimique-ratings ${content.set} ${rater}`;
  const problem = (text) => { at("problem").textContent = text; at("problem").hidden = !text; };
  const remember = () => {
    try {
      localStorage.setItem(key(), JSON.stringify(answers));
      if (!kept) problem("");
      kept = true;
    } catch {
      kept = false;
      problem("This browser keeps no answers. Do not close the page before you have saved the file.");
    }
  };
  const recall = () => {
    try { return JSON.parse(localStorage.getItem(key())) || {}; } catch { return {}; }
  };
  const show = (section) => { for (const id of ["start", "rate", "end"]) at(id).hidden = id !== section; };
  const given = () => Object.fromEntries(questions.map((name) => {
    const chosen = document.querySelector(`input[name=${name}]:checked`);
    return [name, chosen ? chosen.value : ""];
  }));
  const current = () => questions.find((name) => !given()[name]);
  const done = () => order.filter((code) => answers[code]).length;

  const mark = () => {
    const now = current();
    for (const name of questions) at(`q-${name}`).classList.toggle("now", name === now);
    at("next").disabled = Boolean(now);
  };
  const showFace = () => {
    const code = order[place];
    at("face").src = `data:image/png;base64,${pixels.get(code)}`;
    at("face").alt = `Face ${place + 1} of ${order.length}`;
    at("answers").reset();
    for (const name of questions) {
      const value = answers[code] && answers[code][name];
      if (value) document.querySelector(`input[name=${name}][value="${value}"]`).checked = true;
    }
    at("count").textContent = `${place + 1} of ${order.length}`;
    at("progress").value = done();
    at("back").disabled = place === 0;
    at("next").textContent = place + 1 < order.length ? "Next face" : "Finish";
    shownAt = performance.now();
    mark();
    if (document.activeElement && document.activeElement !== document.body) document.activeElement.blur();
    window.scrollTo(0, 0);
  };
  const finish = () => {
    const all = done() === order.length;
    at("end-title").textContent = all ? "Thank you" : "Stopped for now";
    at("end-text").textContent = all
      ? `You rated all ${order.length} faces. Save your ratings now.`
      : `You rated ${done()} of ${order.length} faces. You can save what you have, and go on later with the same code in this browser.`;
    show("end");
    at("save").focus();
  };
  const goOn = () => {
    if (current()) return;
    const code = order[place], before = answers[code];
    const seconds = (performance.now() - shownAt) / 1000 + (before ? Number(before.seconds) : 0);
    answers[code] = { ...given(), seconds: seconds.toFixed(1), rated_at: new Date().toISOString() };
    remember();
    if (place + 1 < order.length) { place += 1; showFace(); } else finish();
  };
  const goBack = () => { if (place > 0) { place -= 1; showFace(); } };

  at("who").addEventListener("submit", (event) => {
    event.preventDefault();
    rater = at("rater").value.trim();
    order = shuffled(content.faces.map((face) => face.code), seedOf(`${content.set} ${rater}`));
    answers = recall();
    place = Math.max(0, order.findIndex((code) => !answers[code]));
    if (order.length && done() === order.length) { finish(); return; }
    show("rate");
    showFace();
  });
  at("answers").addEventListener("change", mark);
  at("answers").addEventListener("submit", (event) => { event.preventDefault(); goOn(); });
  at("back").addEventListener("click", goBack);
  at("pause").addEventListener("click", finish);
  at("again").addEventListener("click", () => { show("rate"); showFace(); });
  document.addEventListener("keydown", (event) => {
    if (at("rate").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^[1-9]$/.test(event.key)) {
      const focused = document.activeElement && document.activeElement.closest("fieldset");
      const name = focused ? focused.id.slice(2) : current();
      if (!name) return;
      const choices = document.querySelectorAll(`input[name=${name}]`);
      const chosen = choices[Number(event.key) - 1];
      if (!chosen) return;
      chosen.checked = true;
      if (focused) document.activeElement.blur();
      mark();
      event.preventDefault();
    } else if (event.key === "Enter" && !["BUTTON"].includes(document.activeElement.tagName)) {
      event.preventDefault();
      goOn();
    } else if (event.key === "Backspace") {
      event.preventDefault();
      goBack();
    }
  });
  at("save").addEventListener("click", () => {
    const rows = order.flatMap((code, position) => answers[code]
      ? [{ set: content.set, rater, position: position + 1, code, ...answers[code] }] : []);
    const lines = [content.fields, ...rows.map((row) => content.fields.map((name) => row[name]))];
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.map((line) => line.join(",") + "\n").join("")], { type: "text/csv" }));
    link.download = `ratings_${content.set}_${rater}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
  at("forget").addEventListener("click", () => {
    if (!confirm("Delete the answers from this browser? Save the file first.")) return;
    try { localStorage.removeItem(key()); } catch { /* nothing was kept */ }
    answers = {};
    at("rater").value = "";
    show("start");
  });
  if (!content.faces.length) problem("This set holds no face.");
})();
