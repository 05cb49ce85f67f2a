// What every panel uses. Gradio runs this text followed by that of the panel, with `element`, `props`, `trigger` and
// `watch` in scope. Text reaches the page through textContent and setAttribute only, never as HTML.

const config = props.config;
const largestNumber = 1e6; // in a request, as in request_checks.py
let lastId = 0;
const scheduled = new Set(); // kinds of requests that the next frame sends
const unanswered = {}; // the newest request of each kind, until its answer comes

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function button(label, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, label);
}

function field(label, control, attributes = {}) {
  return el("label", { class: "gae-field", ...attributes }, el("span", {}, label), control);
}

function picture(uri, alt) {
  return el("img", { src: uri, alt, class: "gae-pixels", draggable: "false" });
}

// Show a picture in a frame, in place of the one that it has.
function showPicture(frame, uri, alt) {
  const shown = frame.firstChild ?? frame.appendChild(picture(uri, alt));
  shown.src = uri;
  shown.alt = alt;
}

// Show a button for each image in a group. Buttons that the group has stay there, and so the focus stays on them.
function showButtons(group, uris, kind, label, onclick) {
  while (group.children.length > uris.length) group.lastChild.remove();
  uris.forEach((uri, index) => {
    const shown = group.children[index] ?? group.appendChild(button(picture(uri, ""), null, { class: kind }));
    shown.firstChild.src = uri;
    shown.setAttribute("aria-label", label(index));
    shown.onclick = () => onclick(index);
  });
}

// Mark one button of a group as pressed, or none.
function press(group, index) {
  [...group.children].forEach((child, i) => child.setAttribute("aria-pressed", String(i === index)));
}

// A value beside its slider, which screen readers read out already.
function readout(text = "") {
  return el("output", { "aria-live": "off" }, text);
}

// Requests and answers

// Send a request with the next frame of the screen: of several of one kind before it, only the last is sent. Gradio
// keeps one of a kind in flight, and again only the last of those that arrive meanwhile.
function ask(event, request) {
  lastId += 1;
  unanswered[event] = { ...request, ...chosenClass(), id: lastId };
  if (!scheduled.has(event)) {
    scheduled.add(event);
    requestAnimationFrame(() => {
      scheduled.delete(event);
      // a request that waits is read from the value when its turn comes, so those without an answer stay there
      props.value = { ...unanswered };
      trigger(event);
    });
  }
  return lastId;
}

function onAnswer(event, handler) {
  window.addEventListener(`gae:answer:${config.name}:${event}`, ({ detail }) => {
    if (!element.isConnected || !detail) return;
    if (detail.id === unanswered[event]?.id) delete unanswered[event];
    handler(detail);
  });
}

// Call a function when the panel is shown for the first time, and again after each choice of another class.
function whenShown(start) {
  let isCurrent = false;
  const check = (name) => {
    if (!isCurrent && name === config.name) {
      isCurrent = true;
      start();
    }
  };
  window.addEventListener("gae:show", ({ detail }) => check(detail));
  window.addEventListener("gae:class", () => {
    isCurrent = false;
    check(window.gaeShown);
  });
  check(window.gaeShown);
}

// Classes: the header sets what is chosen, and in which tabs

function chosenClass() {
  const { classLabel, guidance, tabs, guidedTabs } = window.gaeClass ?? { tabs: [], guidedTabs: [] };
  return {
    ...(tabs.includes(config.name) && classLabel !== null ? { class_label: classLabel } : {}),
    ...(guidedTabs.includes(config.name) && guidance !== 1 ? { guidance_scale: guidance } : {}),
  };
}

// The class of an answer, as words that follow others; empty for a model without classes.
function asClass(label) {
  if (label === undefined) return "";
  const [, name] = window.gaeClass.options.find(([value]) => value === label);
  return label < 0 ? " without a class" : ` as ${name}`;
}

function showClass(line, label) {
  line.textContent = `Decoded${asClass(label)}`;
  line.hidden = label === undefined;
}

// Downloads

function saveUri(uri, name) {
  el("a", { href: uri, download: name }).click();
}

function saveText(text, type, name) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  saveUri(address, name);
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

// One picture of images of the model's size, pixel by pixel.
async function saveSheet(uris, columns, name) {
  if (!uris.length) return;
  const images = await Promise.all(
    uris.map((uri) => {
      const image = new Image();
      image.src = uri;
      return image.decode().then(() => image);
    }),
  );
  const { naturalWidth: width, naturalHeight: height } = images[0];
  const canvas = el("canvas", { width: columns * width, height: Math.ceil(images.length / columns) * height });
  const pen = canvas.getContext("2d");
  images.forEach((image, i) => pen.drawImage(image, (i % columns) * width, Math.floor(i / columns) * height));
  saveUri(canvas.toDataURL("image/png"), name);
}

function downloads(...items) {
  const buttons = items.map(([label, action]) => button(label, action, { class: "gae-quiet" }));
  return el("div", { class: "gae-downloads", role: "group", "aria-label": "Downloads" }, ...buttons);
}
