// New images from the prior or a sampler, and more images like a chosen one.

const names = config.samplers.map(([name]) => name);
const state = {
  sampler: names.includes(readState("sampler")) ? readState("sampler") : names[0],
  seed: readInteger("seed", 0, 0, config.maxSeed),
  num_samples: readInteger("num", 16, 1, config.maxImages),
  index: readInteger("image", null, 0, config.maxImages - 1),
  distance: readNumber("distance", 0.4, 0, 2),
  variation_seed: readInteger("variation", 0, 0, config.maxSeed),
};
let images = [];

const sampler = el("select", { onchange: () => update({ sampler: sampler.value, index: null }) },
  ...config.samplers.map(([name, label]) => el("option", { value: name, selected: name === state.sampler }, label)));
const seed = el("input", { type: "number", min: 0, max: config.maxSeed, step: 1, value: state.seed, oninput: () => {
  if (seed.checkValidity() && seed.value !== "") update({ seed: Number(seed.value), index: null });
} });
const count = readout(String(state.num_samples));
const number = el("input", { type: "range", min: 1, max: config.maxImages, value: state.num_samples, oninput: () => {
  update({ num_samples: Number(number.value), index: state.index < Number(number.value) ? state.index : null });
} });
const grid = el("div", { class: "gae-grid", role: "group", "aria-label": "Samples" });
const detail = el("aside", { class: "gae-card gae-detail", "aria-label": "More like this", hidden: true });
const chosen = el("div", { class: "gae-chosen" });
const variations = el("div", { class: "gae-grid gae-variations", role: "group", "aria-label": "Variations" });
const distanceText = readout(state.distance.toFixed(2));
const distance = el("input", { type: "range", min: 0, max: 2, step: 0.05, value: state.distance, oninput: () => {
  state.distance = Number(distance.value);
  distanceText.textContent = state.distance.toFixed(2);
  vary();
} });
detail.append(
  el("div", { class: "gae-detail-head" }, chosen,
    el("div", {}, el("h2", {}, "More like this"),
      field("Distance", el("span", { class: "gae-range" }, distance, distanceText)),
      el("div", { class: "gae-actions" },
        button("Other variations", () => { state.variation_seed += 1; vary(); }),
        button("Close", close, { class: "gae-quiet" }),
      ),
    ),
  ),
  variations,
);

element.replaceChildren(
  el("div", { class: "gae-toolbar" },
    field("Sampler", sampler),
    field("Seed", el("span", { class: "gae-joined" }, seed, button("New", () => {
      seed.value = Math.floor(Math.random() * 100000);
      update({ seed: Number(seed.value), index: null });
    }, { "aria-label": "New random seed" }))),
    field("Images", el("span", { class: "gae-range" }, number, count), { class: "gae-field gae-grow" }),
  ),
  el("div", { class: "gae-split" }, grid, detail),
  downloads(
    ["Images, PNG", () => saveSheet(images, Math.ceil(Math.sqrt(images.length)), `samples-seed${state.seed}.png`)],
    ["Latents, NPZ", () => askForLatents("npz")],
    ["Latents, CSV", () => askForLatents("csv")],
  ),
);

function request() {
  return { sampler: state.sampler, seed: state.seed, num_samples: state.num_samples };
}

function askForLatents(format) {
  ask("sample_latents", { ...request(), format });
}

function update(change) {
  Object.assign(state, change);
  count.textContent = String(state.num_samples);
  if (state.index === null) detail.hidden = true;
  ask("sample", request());
  remember();
}

function remember() {
  writeState({
    sampler: state.sampler === names[0] ? null : state.sampler, seed: state.seed || null,
    num: state.num_samples === 16 ? null : state.num_samples, image: state.index,
    distance: state.index === null ? null : state.distance,
    variation: state.index === null ? null : state.variation_seed || null,
  });
}

function select(index) {
  state.index = index;
  press(grid, index);
  detail.hidden = index === null;
  if (index === null) remember();
  else {
    showPicture(chosen, images[index], `Chosen sample ${index + 1}`);
    vary();
  }
}

function close() {
  grid.children[state.index].focus();
  select(null);
}

function vary() {
  ask("vary", { ...request(), index: state.index, distance: state.distance, variation_seed: state.variation_seed, num_variations: 12 });
  remember();
}

onAnswer("sample", (answer) => {
  images = answer.images;
  grid.style.setProperty("--columns", Math.ceil(Math.sqrt(images.length)));
  showButtons(grid, images, "gae-tile", (index) => `Sample ${index + 1} of ${images.length}${asClass(answer.class_labels?.[index])}: show more like it`,
    (index) => select(state.index === index ? null : index));
  select(state.index < images.length ? state.index : null);
});
onAnswer("vary", (answer) => {
  variations.replaceChildren(...answer.images.map((uri, index) => picture(uri, `Variation ${index + 1}`)));
});
onAnswer("sample_latents", (answer) => saveUri(answer.file, answer.name));
whenShown(() => ask("sample", request()));
