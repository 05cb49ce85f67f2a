// One slider for each active direction of the latent space, with a strip of what it does.

const axes = config.axes;
const numMore = 8; // sliders that "Show more" adds
const stripsPerRequest = 8; // the first ones appear while others are computed; a request may have 256 images
const state = {
  example: readInteger("base", null, 0, config.examples.length - 1),
  num: readInteger("axes", config.numShown, config.numShown, axes.length),
  values: [],
  names: readNames(),
};
const rows = [];
let current = null;
let waiting = null;
let stripsId = null;

const output = el("div", { class: "gae-frame" });
const shownClass = el("p", { class: "gae-hint", hidden: true });
const base = el("select", { onchange: () => reset(base.value === "" ? null : Number(base.value)) },
  el("option", { value: "" }, "Mean of the examples"),
  ...config.examples.map((example, index) => el("option", { value: index, selected: index === state.example }, example.label === null ? `Example ${index + 1}` : `Example ${index + 1} (${example.label})`)));
const list = el("div", { class: "gae-axes" });
const more = button("", showMore, { class: "gae-quiet" });

element.replaceChildren(
  el("div", { class: "gae-split gae-explore" },
    el("aside", { class: "gae-card gae-sticky", "aria-label": "Image" }, output, shownClass,
      field("Start from", base),
      el("div", { class: "gae-actions" }, button("Reset sliders", () => reset(state.example))),
      downloads(
        ["Image, PNG", () => current && saveUri(current, "explored.png")],
        ["Latents, NPZ", () => ask("explored_latents", { ...request(), format: "npz" })],
        ["Latents, CSV", () => ask("explored_latents", { ...request(), format: "csv" })],
        ["Names, JSON", () => saveText(JSON.stringify(Object.fromEntries(axes.flatMap((axis, i) => state.names[i] ? [[axis.name, state.names[i]]] : [])), null, 1), "application/json", "names.json")],
      ),
    ),
    el("section", { "aria-label": "Directions" },
      el("p", { class: "gae-hint" }, config.orderedBy), list, more),
  ),
);

function readNames() {
  const names = {};
  for (const part of (readState("names") ?? "").split("~")) {
    const [index, name] = [Number(part.split(".")[0]), part.slice(part.indexOf(".") + 1)];
    if (part && Number.isInteger(index) && index >= 0 && index < axes.length) names[index] = name.slice(0, 40);
  }
  return names;
}

function baseValues() {
  return state.example === null ? axes.map((axis) => axis.mean) : config.coordinates[state.example];
}

function readValues() {
  const values = (readState("z") ?? "").split("_").filter((text) => text !== "").map(Number);
  return baseValues().map((value, i) => (Math.abs(values[i]) <= largestNumber ? values[i] : value));
}

function request() {
  return { values: state.values.slice(0, state.num), example: state.example };
}

function remember() {
  const start = baseValues();
  const isMoved = state.values.some((value, i) => Math.abs(value - start[i]) > 1e-6);
  writeState({
    base: state.example,
    z: isMoved ? state.values.slice(0, state.num).map((value) => Number(value.toFixed(3))).join("_") : null,
    axes: state.num === config.numShown ? null : state.num,
    names: Object.entries(state.names).filter(([, name]) => name).map(([i, name]) => `${i}.${name}`).join("~"),
  });
}

function refresh() {
  ask("explore", request());
  askForAllStrips();
}

function askForAllStrips() {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    askForStrips(0);
    remember();
  }, 60);
}

function askForStrips(first) {
  const indices = rows.slice(first, first + stripsPerRequest).map((row) => row.index);
  if (indices.length) stripsId = ask("traverse", { ...request(), axes: indices, num_steps: rows.length > 8 ? 5 : 7 });
}

function set(row, value, isFinal) {
  state.values[row.index] = value;
  showRow(row);
  ask("explore", request());
  if (isFinal) askForAllStrips();
}

function labelOf(index) {
  return state.names[index] || axes[index].name;
}

function buildRow(index) {
  const axis = axes[index];
  const row = { index, text: readout(), strip: el("div", { class: "gae-film", role: "group", "aria-label": `What ${axis.name} does` }) };
  row.slider = el("input", {
    type: "range", min: axis.low, max: axis.high, step: (axis.high - axis.low) / 200,
    oninput: () => set(row, Number(row.slider.value), false), onchange: askForAllStrips,
  });
  row.name = el("input", {
    type: "text", class: "gae-name", placeholder: axis.name, maxlength: 40, value: state.names[index] ?? "", "aria-label": `Name of ${axis.name}`,
    oninput: () => { state.names[index] = row.name.value.replace(/[~]/g, ""); showRow(row); remember(); },
  });
  row.root = el("div", { class: "gae-axis" },
    el("div", { class: "gae-axis-head" }, row.name, el("span", { class: "gae-score", title: config.scoreTitle }, axis.score)),
    el("span", { class: "gae-range" }, row.slider, row.text), row.strip);
  showRow(row);
  return row;
}

function showRow(row) {
  const value = state.values[row.index];
  row.slider.value = value;
  row.text.textContent = value.toFixed(2);
  row.slider.setAttribute("aria-label", `Value of ${labelOf(row.index)}`);
  row.slider.setAttribute("aria-valuetext", value.toFixed(2));
}

function addRows() {
  while (rows.length < state.num) {
    const row = buildRow(rows.length);
    rows.push(row);
    list.append(row.root);
  }
  const rest = axes.length - state.num;
  more.hidden = rest === 0;
  more.textContent = rest > numMore ? `Show ${numMore} of ${rest} more` : `Show ${rest} more`;
}

function showMore() {
  const first = rows.length;
  state.num = Math.min(axes.length, state.num + numMore);
  addRows();
  rows[first].slider.focus(); // the button may be hidden now
  refresh();
}

function reset(example) {
  state.example = example;
  state.values = [...baseValues()];
  rows.forEach(showRow);
  refresh();
}

onAnswer("explore", (answer) => {
  current = answer.image;
  showPicture(output, current, `Image at the sliders' values${asClass(answer.class_label)}`);
  showClass(shownClass, answer.class_label);
});
onAnswer("traverse", (answer) => {
  const numSteps = answer.images.length / answer.axes.length;
  answer.axes.forEach((index, i) => {
    const { low, high } = axes[index];
    const valueAt = (step) => low + ((high - low) * step) / (numSteps - 1);
    showButtons(rows[index].strip, answer.images.slice(i * numSteps, (i + 1) * numSteps), "gae-thumb",
      (step) => `Set ${labelOf(index)} to ${valueAt(step).toFixed(2)}`, (step) => set(rows[index], valueAt(step), true));
  });
  if (answer.id === stripsId) askForStrips(answer.axes.at(-1) + 1);
});
onAnswer("explored_latents", (answer) => saveUri(answer.file, answer.name));
state.values = readValues();
addRows();
whenShown(refresh);
