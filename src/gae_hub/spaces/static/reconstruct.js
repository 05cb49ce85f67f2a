// An image beside what the model makes of it, the error in numbers, and the codes of a quantized model.

const first = readInteger("example", 0, 0, config.examples.length - 1);
const before = el("div");
const after = el("div");
const difference = el("div", { class: "gae-difference", role: "img", "aria-label": "Absolute difference of both" });
const numbers = el("dl", { class: "gae-numbers", "aria-live": "polite" });
const caption = el("figcaption", {}, "Reconstruction");
const codes = el("div", { class: "gae-codes", hidden: true });
let current = { example: first };
let shown = null;

element.replaceChildren(
  el("div", { class: "gae-split gae-even" },
    el("section", { class: "gae-card", "aria-label": "Input" }, el("h2", {}, "Choose an image"),
      imagePicker({ label: "Input", value: first, onPick: pick }), el("p", { class: "gae-hint" }, config.examplesFrom)),
    el("section", { class: "gae-card", "aria-label": "Result" }, el("h2", {}, "What the model keeps of it"),
      el("div", { class: "gae-pair" },
        el("figure", { class: "gae-figure" }, before, el("figcaption", {}, "Input")),
        el("figure", { class: "gae-figure" }, after, caption),
        el("figure", { class: "gae-figure" }, difference, el("figcaption", {}, "Difference")),
      ),
      numbers, codes,
      downloads(
        ["Both, PNG", () => shown && saveSheet([shown.input, shown.reconstruction], 2, "reconstruction.png")],
        ["Latents, NPZ", () => askForLatents("npz")],
        ["Latents, CSV", () => askForLatents("csv")],
      ),
    ),
  ),
);

function source() {
  return current.image ?? current.example;
}

function askForLatents(format) {
  ask("image_latents", { image: source(), format });
}

function pick(choice) {
  current = choice;
  ask("reconstruct", { image: source() });
  writeState({ example: choice.example || null });
}

function number(term, value) {
  return el("div", {}, el("dt", {}, term), el("dd", {}, value));
}

function drawCodes(shape, values) {
  const [rows, columns] = shape.length >= 2 ? shape : [1, shape[0] ?? 1];
  const levels = shape[2] ?? 1;
  const maps = [];
  for (let level = 0; level < levels; level += 1) {
    const map = el("div", {
      class: "gae-codemap", style: `--columns: ${columns}`, role: "img",
      "aria-label": `Codes${levels > 1 ? ` of level ${level + 1}` : ""}, ${rows} by ${columns}`,
    });
    for (let cell = 0; cell < rows * columns; cell += 1) {
      const code = values[cell * levels + level];
      const hue = (code * 137.508) % 360; // the golden angle: neighbouring codes get different colours
      map.append(el("span", { style: `background: hsl(${hue} 55% 58%)`, title: `code ${code}` }, String(code)));
    }
    maps.push(map);
  }
  return maps;
}

onAnswer("reconstruct", (answer) => {
  shown = answer;
  showPicture(before, answer.input, "Input as the model sees it");
  caption.textContent = `Reconstruction${asClass(answer.class_label)}`;
  showPicture(after, answer.reconstruction, caption.textContent);
  difference.replaceChildren(picture(answer.input, ""), picture(answer.reconstruction, ""));
  numbers.replaceChildren(
    number("Mean squared error", answer.mse.toPrecision(3)),
    number("PSNR", `${answer.psnr.toFixed(2)} dB`),
    number("Latents", answer.latent_shape.join(" × ")),
  );
  codes.hidden = answer.codes === null;
  if (answer.codes !== null) {
    const used = new Set(answer.codes).size;
    codes.replaceChildren(
      el("h3", {}, `Codes: ${used} different ones of ${config.numCodes}`),
      ...drawCodes(answer.code_shape, answer.codes),
    );
  }
});
onAnswer("image_latents", (answer) => saveUri(answer.file, answer.name));
whenShown(() => pick(current));
