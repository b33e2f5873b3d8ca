"use strict";
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const at = (id) => document.getElementById(id);
  const total = content.pairs.length;
  // A second tap that was meant for the pair before comes sooner than anybody has looked at two faces.
  const tooSoon = 200;
  let rater = "", answers = {}, place = 0, shownAt = 0, kept = true;

  const key = () => `mimique-pairs ${content.set} ${rater}`;
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
  const show = (section) => { for (const id of ["start", "judge", "end"]) at(id).hidden = id !== section; };
  const choices = () => document.querySelectorAll("[data-choice]");
  const done = () => Object.keys(answers).length;

  const showPair = () => {
    const pair = content.pairs[place], given = answers[place + 1];
    content.sides.forEach((side, number) => {
      const image = at(side).querySelector("img");
      image.src = `data:image/png;base64,${pair.faces[number]}`;
      image.alt = `Generated face on the ${side}, made to show ${pair.emotion}`;
    });
    for (const button of choices()) button.setAttribute("aria-pressed", String(Boolean(given) && given.choice === button.dataset.choice));
    at("question").textContent = `${place + 1}. Which is the more believable face of ${pair.emotion}?`;
    at("count").textContent = `${place + 1} of ${total}`;
    at("progress").value = done();
    at("back").disabled = place === 0;
    shownAt = performance.now();
    at("question").focus({ preventScroll: true });
  };
  const finish = () => { show("end"); at("save").focus(); };
  const choose = (choice) => {
    const now = performance.now();
    if (now - shownAt < tooSoon) return;
    const before = answers[place + 1];
    const seconds = (now - shownAt) / 1000 + (before ? Number(before.seconds) : 0);
    answers[place + 1] = { choice, seconds: seconds.toFixed(1), answered_at: new Date().toISOString() };
    remember();
    if (place + 1 < total) { place += 1; showPair(); } else finish();
  };
  const goBack = () => { if (place > 0) { place -= 1; showPair(); } };

  at("who").addEventListener("submit", (event) => {
    event.preventDefault();
    rater = at("rater").value.trim();
    answers = recall();
    place = done();
    if (place === total) { place = total - 1; finish(); return; }
    show("judge");
    showPair();
  });
  for (const button of choices()) button.addEventListener("click", () => choose(button.dataset.choice));
  at("back").addEventListener("click", goBack);
  at("again").addEventListener("click", () => { show("judge"); showPair(); });
  document.addEventListener("keydown", (event) => {
    if (at("judge").hidden || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const named = { 1: content.sides[0], ArrowLeft: content.sides[0], 2: content.sides[1], ArrowRight: content.sides[1], 3: content.tie };
    if (named[event.key]) choose(named[event.key]);
    else if (event.key === "Backspace") goBack();
    else return;
    event.preventDefault();
  });
  at("save").addEventListener("click", () => {
    const rows = Object.entries(answers).map(([pair, answer]) => ({ pair, set: content.set, rater, ...answer }));
    const lines = [content.fields, ...rows.map((row) => content.fields.map((name) => row[name]))];
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.map((line) => line.join(",") + "\n").join("")], { type: "text/csv" }));
    link.download = `answers_${content.set}_${rater}.csv`;
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
})();
