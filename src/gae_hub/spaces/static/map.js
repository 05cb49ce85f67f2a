// The examples' embeddings in two dimensions. A click, a drag or the arrow keys decode a point of the plane.

const palette = ["#4e79d6", "#e8743b", "#35a97c", "#c94f7c", "#8c6bd1", "#c9a227", "#3aa6b9", "#9c6644", "#7a8b2a", "#d1495b"];
// Corners of the shapes of the classes, in a circle of radius 1: circle, triangle, diamond. With 10 colours, 30 classes differ.
const shapes = [24, 3, 4].map((num) => Array.from({ length: num }, (_, i) => (2 * Math.PI * i) / num).map((angle) => [Math.sin(angle), -Math.cos(angle)]));
const maxNames = 10; // classes whose names are written on the map
const points = config.points;
const classes = [...new Set(config.labels.filter((label) => label !== null))];
const looks = new Map(classes.map((label, i) => [label, { colour: palette[i % palette.length], shape: shapes[i % shapes.length] }]));
const ranges = [0, 1].map((axis) => {
  const values = points.map((point) => point[axis]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = 0.08 * (high - low) || 1;
  return [low - margin, high + margin];
});
const middle = ranges.map(([low, high]) => (low + high) / 2);
const point = [readNumber("x", middle[0], -largestNumber, largestNumber), readNumber("y", middle[1], -largestNumber, largestNumber)];
const hidden = new Set();
const names = classes.length > maxNames ? [] : classes.map((label) => {
  const own = points.filter((_, i) => config.labels[i] === label);
  return [label, [0, 1].map((axis) => median(own.map((place) => place[axis])))];
});

const canvas = el("canvas", {
  class: "gae-map", tabindex: "0", role: "application",
  "aria-label": "Map of the embeddings. The arrow keys move the point that is decoded.",
});
const decoded = el("div", { class: "gae-frame" });
const tile = el("span", { class: "gae-sprite gae-pixels", role: "img" });
const nearestText = el("span");
const nearest = el("div", { class: "gae-nearest" }, tile, nearestText);
const where = el("p", { class: "gae-mono" });
const shownClass = el("p", { class: "gae-hint", hidden: true });
const announced = el("p", { class: "gae-announced", "aria-live": "polite" });
const legend = el("div", { class: "gae-legend", role: "group", "aria-label": "Classes" },
  ...classes.map((label) => button(el("span", {}, symbol(label), label), (event) => {
    if (hidden.has(label)) hidden.delete(label); else hidden.add(label);
    event.currentTarget.setAttribute("aria-pressed", String(!hidden.has(label)));
    draw();
  }, { "aria-pressed": "true" })));

element.replaceChildren(
  el("div", { class: "gae-split gae-mapped" },
    el("section", { class: "gae-card", "aria-label": "Map" }, canvas, legend, el("p", { class: "gae-hint" }, config.note)),
    el("aside", { class: "gae-card", "aria-label": "Decoded point" }, el("h2", {}, "Decoded point"), decoded, where, shownClass, announced,
      el("h3", {}, "Nearest example"), nearest,
      downloads(["Image, PNG", () => decoded.firstChild && saveUri(decoded.firstChild.src, "point.png")],
        ["Points, CSV", () => saveText(["x,y,label", ...points.map(([x, y], i) => `${x},${y},${quote(config.labels[i] ?? "")}`)].join("\n"), "text/csv", "map.csv")])),
  ),
);

// one picture of all examples: showing another one only moves it
tile.style.backgroundImage = `url(${config.sheet})`;
tile.style.backgroundSize = config.sheetSize.map((count) => `${count * 100}%`).join(" ");

// The symbol of a class in the legend.
function symbol(label) {
  const { colour, shape } = looks.get(label);
  const corners = shape.map((corner) => corner.map((part) => `${50 + 50 * part}%`).join(" "));
  return el("i", { style: `background: ${colour}; clip-path: polygon(${corners.join(", ")})` });
}

function quote(text) {
  return `"${text.replaceAll('"', '""')}"`;
}

function median(values) {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

function toScreen([x, y]) {
  const { width, height } = canvas.getBoundingClientRect();
  return [((x - ranges[0][0]) / (ranges[0][1] - ranges[0][0])) * width, (1 - (y - ranges[1][0]) / (ranges[1][1] - ranges[1][0])) * height];
}

function toPlane(event) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  return [
    ranges[0][0] + ((event.clientX - left) / width) * (ranges[0][1] - ranges[0][0]),
    ranges[1][0] + (1 - (event.clientY - top) / height) * (ranges[1][1] - ranges[1][0]),
  ];
}

function draw() {
  const { width, height } = canvas.getBoundingClientRect();
  if (!width) return;
  const scale = window.devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const radius = points.length > 250 ? 3.2 : 4.2;
  points.forEach((place, i) => {
    const label = config.labels[i];
    if (label !== null && hidden.has(label)) return;
    const { colour, shape } = looks.get(label) ?? { colour: style.color, shape: shapes[0] };
    const [x, y] = toScreen(place);
    pen.globalAlpha = 0.82;
    pen.fillStyle = colour;
    pen.beginPath();
    shape.forEach(([a, b]) => pen.lineTo(x + radius * a, y + radius * b));
    pen.fill();
  });
  writeNames(pen, style);
  const [x, y] = toScreen(point);
  pen.globalAlpha = 1;
  pen.strokeStyle = style.color;
  pen.lineWidth = 1;
  pen.beginPath();
  pen.moveTo(x, 0); pen.lineTo(x, height); pen.moveTo(0, y); pen.lineTo(width, y);
  pen.globalAlpha = 0.25;
  pen.stroke();
  pen.globalAlpha = 1;
  pen.lineWidth = 2.5;
  pen.beginPath();
  pen.arc(x, y, 8, 0, 2 * Math.PI);
  pen.stroke();
}

// Names at the middle of their points, so that a few classes are told apart without colours.
function writeNames(pen, style) {
  pen.globalAlpha = 1;
  pen.font = `600 13px ${style.fontFamily}`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.lineWidth = 3;
  pen.lineJoin = "round";
  pen.strokeStyle = style.getPropertyValue("--gae-card");
  pen.fillStyle = style.color;
  for (const [label, place] of names) {
    if (hidden.has(label)) continue;
    pen.strokeText(label, ...toScreen(place));
    pen.fillText(label, ...toScreen(place));
  }
}

function move(x, y, isFinal = true) {
  point[0] = Math.min(Math.max(x, ranges[0][0]), ranges[0][1]);
  point[1] = Math.min(Math.max(y, ranges[1][0]), ranges[1][1]);
  draw();
  where.textContent = `x ${point[0].toFixed(2)}, y ${point[1].toFixed(2)}`;
  const distances = points.map(([a, b]) => Math.hypot(a - point[0], b - point[1]));
  const best = distances.indexOf(Math.min(...distances));
  const label = config.labels[best];
  nearestText.textContent = `Example ${best + 1}${label === null ? "" : `, label ${label}`}`;
  tile.setAttribute("aria-label", nearestText.textContent);
  const [columns, rowsOfSheet] = config.sheetSize;
  const share = (index, count) => (count > 1 ? (index / (count - 1)) * 100 : 0);
  tile.style.backgroundPosition = `${share(best % columns, columns)}% ${share(Math.floor(best / columns), rowsOfSheet)}%`;
  ask("decode_point", { x: point[0], y: point[1] });
  if (!isFinal) return;
  announced.textContent = `${where.textContent}, nearest: ${nearestText.textContent}`;
  writeState({ x: point[0].toFixed(3), y: point[1].toFixed(3) });
}

canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); move(...toPlane(event), false); });
canvas.addEventListener("pointermove", (event) => { if (canvas.hasPointerCapture(event.pointerId)) move(...toPlane(event), false); });
canvas.addEventListener("pointerup", (event) => { if (canvas.hasPointerCapture(event.pointerId)) move(...toPlane(event)); });
canvas.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (!step) return;
  event.preventDefault();
  move(...[0, 1].map((axis) => point[axis] + (step[axis] * (ranges[axis][1] - ranges[axis][0])) / 40));
});
onAnswer("decode_point", (answer) => {
  showPicture(decoded, answer.image, `Image of the chosen point${asClass(answer.class_label)}`);
  showClass(shownClass, answer.class_label);
});
new ResizeObserver(draw).observe(canvas);
new MutationObserver(draw).observe(document.body, { attributes: true, attributeFilter: ["class"] });
whenShown(() => move(...point, false));
