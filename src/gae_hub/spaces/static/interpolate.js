// The path between two images: a slider, a film strip, and a player. All images of a path arrive at once.

const last = config.examples.length - 1;
const ends = [readInteger("from", 0, 0, last), readInteger("to", Math.min(1, last), 0, last)].map((example) => ({ example }));
const paths = config.geometry ? [["straight", "Straight line"], ["model", capitalize(config.geometry)]] : [["straight", "Straight line"]];
const frames = {};
let position = Math.round(readNumber("t", 0, 0, 1) * (config.numSteps - 1));
let timer = null;
let direction = 1;

const slider = el("input", { type: "range", min: 0, max: config.numSteps - 1, step: 1, value: position, "aria-label": "Position on the path", oninput: () => choose(Number(slider.value)) });
const place = readout();
const play = button("Play", () => (timer === null ? start() : stop()), { class: "gae-primary" });
const views = paths.map(([name, label]) => {
  const view = el("div", { "data-path": name });
  return [name, view, el("figure", { class: "gae-figure" }, view, el("figcaption", {}, label))];
});
const strips = paths.map(([name, label]) => [name, el("div", { class: "gae-film", role: "group", "aria-label": `${label}: all images` })]);

element.replaceChildren(
  el("div", { class: "gae-split gae-even" },
    ...["From", "To"].map((label, side) =>
      el("section", { class: "gae-card", "aria-label": label }, el("h2", {}, label),
        imagePicker({ label, value: ends[side].example, onPick: (choice) => { ends[side] = choice; request(); }, withDrawing: false })),
    ),
  ),
  el("section", { class: "gae-card", "aria-label": "Path" },
    el("div", { class: "gae-stage" }, ...views.map(([, , view]) => view)),
    el("div", { class: "gae-toolbar gae-player" }, play, el("span", { class: "gae-range gae-grow" }, slider, place)),
    ...strips.map(([, strip]) => strip),
  ),
  el("p", { class: "gae-hint" }, config.examplesFrom),
  downloads(["All images, PNG", () => saveSheet(paths.flatMap(([name]) => frames[name] ?? []), config.numSteps, "interpolation.png")]),
);

function capitalize(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function request() {
  const [start_, end_] = ends.map((end) => end.image ?? end.example);
  ask("interpolate", { start: start_, end: end_, num_steps: config.numSteps, path: "straight" });
  if (config.geometry) ask("interpolate_geodesic", { start: start_, end: end_, num_steps: config.numSteps, path: "model" });
  writeState({ from: ends[0].example ?? null, to: ends[1].example ?? null });
}

function show(index) {
  position = index;
  slider.value = index;
  const t = index / (config.numSteps - 1);
  place.textContent = t.toFixed(2);
  slider.setAttribute("aria-valuetext", `${Math.round(100 * t)} % of the way`);
  for (const [name, view] of views) {
    if (frames[name]) showPicture(view, frames[name][index], `Image at ${Math.round(100 * t)} % of the path`);
  }
  for (const [, strip] of strips) press(strip, index);
}

function choose(index) {
  show(index);
  stop();
}

function start() {
  play.textContent = "Pause";
  timer = setInterval(() => {
    if (position + direction < 0 || position + direction >= config.numSteps) direction = -direction;
    show(position + direction);
  }, 110);
}

function stop() {
  play.textContent = "Play";
  clearInterval(timer);
  timer = null;
  writeState({ t: position ? (position / (config.numSteps - 1)).toFixed(3) : null });
}

function receive(name) {
  return (answer) => {
    frames[name] = answer.images;
    const strip = strips.find(([other]) => other === name)[1];
    showButtons(strip, frames[name], "gae-thumb", (index) => `Step ${index + 1} of ${config.numSteps}`, choose);
    show(position);
  };
}

onAnswer("interpolate", receive("straight"));
onAnswer("interpolate_geodesic", receive("model"));
whenShown(request);
