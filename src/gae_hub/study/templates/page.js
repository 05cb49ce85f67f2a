"use strict";
// Listeners are on the document and elements are found when needed, since a Space adds and replaces parts of its page
const tip = () => document.getElementById("passport");
const viewer = () => document.getElementById("viewer");

// Passports: shown for the number under the pointer, or that has the focus

let passports = null, source = null;
function readPassports(cell) {
  const element = cell.closest(".numbers").querySelector(".passports");
  if (element !== source) passports = JSON.parse(element.textContent);
  source = element;
  return passports;
}
let shown = null;
function showPassport(cell) {
  const { entries, lines } = readPassports(cell);
  const list = document.createElement("dl");
  for (const line of entries[cell.dataset.p].map((index) => lines[index])) {
    const colon = line.indexOf(": ");
    const name = document.createElement("dt"), value = document.createElement("dd");
    name.textContent = colon < 0 ? "" : line.slice(0, colon);
    value.textContent = colon < 0 ? line : line.slice(colon + 2);
    list.append(name, value);
  }
  const box = tip();
  box.replaceChildren(list);
  box.hidden = false;
  const place = cell.getBoundingClientRect(), size = box.getBoundingClientRect();
  const left = Math.min(Math.max(8, place.left + place.width / 2 - size.width / 2), innerWidth - size.width - 8);
  const below = place.bottom + 6 + size.height < innerHeight;
  box.style.left = `${left}px`;
  box.style.top = `${below ? place.bottom + 6 : Math.max(8, place.top - 6 - size.height)}px`;
  shown?.removeAttribute("aria-describedby");
  cell.setAttribute("aria-describedby", "passport");
  shown = cell;
}
function hidePassport() {
  shown?.removeAttribute("aria-describedby");
  if (shown) tip().hidden = true;
  shown = null;
}
function cellOf(event) {
  return event.target instanceof Element ? event.target.closest("td[data-p]") : null;
}
document.addEventListener("pointerover", (event) => {
  const cell = cellOf(event);
  if (cell) showPassport(cell);
  else if (shown && shown !== document.activeElement) hidePassport();
});
document.addEventListener("focusin", (event) => {
  const cell = cellOf(event);
  if (event.target.matches(".scroll") && !event.target.querySelector("td[tabindex='0']"))
    event.target.querySelectorAll("table").forEach(enter); // a table that came after the page
  if (cell) showPassport(cell);
  else hidePassport();
});
document.addEventListener("focusout", hidePassport);
document.addEventListener("click", (event) => cellOf(event)?.focus({ preventScroll: true }));
addEventListener("scroll", () => {
  if (shown && shown === document.activeElement) showPassport(shown); // moving the focus scrolls
  else if (shown) hidePassport();
}, { capture: true, passive: true });

// Tables: one number of each table is in the tab order; arrow keys move to its neighbours

function enter(table) {
  table.querySelector("td[tabindex='0']")?.setAttribute("tabindex", "-1");
  table.querySelector("tbody tr:not([hidden]) td[data-p]:not([hidden])")?.setAttribute("tabindex", "0");
}
function neighbour(cell, key) {
  const row = cell.parentElement, index = cell.cellIndex;
  const step = key === "ArrowLeft" || key === "ArrowUp" ? "previousElementSibling" : "nextElementSibling";
  const sideways = key === "ArrowLeft" || key === "ArrowRight";
  for (let next = sideways ? cell[step] : row[step]; next; next = next[step]) {
    const found = sideways ? next : next.cells[index];
    if (!next.hidden && found && !found.hidden && found.dataset.p !== undefined) return found;
  }
  return null;
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hidePassport();
  const cell = cellOf(event);
  if (!cell || !event.key.startsWith("Arrow")) return;
  const next = neighbour(cell, event.key);
  event.preventDefault();
  if (!next) return;
  cell.tabIndex = -1;
  next.tabIndex = 0;
  next.scrollIntoView({ block: "nearest", inline: "nearest" });
  requestAnimationFrame(() => next.focus({ preventScroll: true }));
});

// The cell of a row below a header. A method without a model has one cell for all of its images, so columns are counted
// from the end.
function cellBelow(header, row) {
  return row.cells[row.cells.length - header.parentElement.cells.length + header.cellIndex];
}

// Sorting: numbers first in the better direction, missing ones always last

function sortBy(header) {
  const table = header.closest("table"), body = table.tBodies[0];
  const first = header.dataset.better === "higher" ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = header.getAttribute("aria-sort") === first ? other : first;
  const sign = order === "ascending" ? 1 : -1;
  const numeric = header.classList.contains("number");
  const key = (row) => {
    const cell = cellBelow(header, row);
    if (numeric) return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
    return cell.textContent;
  };
  const rows = [...body.rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (numeric ? a - b : a.localeCompare(b, "en", { numeric: true }));
  });
  table.querySelectorAll("[aria-sort]").forEach((cell) => cell.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", order);
  body.append(...rows.map(([, row]) => row));
  enter(table);
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("button.sort");
  if (button) sortBy(button.parentElement);
});

// Pictures

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.enlarge");
  if (!button) return;
  viewer().querySelector(".stage").replaceChildren(button.firstElementChild.cloneNode(true));
  viewer().querySelector(".legend").textContent = button.closest("figure").querySelector("figcaption").textContent;
  viewer().showModal();
});
document.addEventListener("click", (event) => event.target === viewer() && viewer().close());
document.addEventListener("close", (event) => event.target.querySelector(".stage")?.replaceChildren(), true);

// Filters: what is about another task, data set or networks is hidden

const filters = () => [...document.querySelectorAll("[data-filter]")];
function matches(element, names) {
  return filters().every(({ value, dataset: { filter } }) => {
    const own = names.includes(filter) ? element.dataset[filter] : "";
    return !value || !own || own === "all" || own === value;
  });
}
function filterTable(table) {
  const names = ["task", "dataset", "network"];
  for (const row of table.querySelectorAll("tbody tr")) row.hidden = !matches(row, names);
  const headers = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const numbers = headers.filter((header) => header.classList.contains("number"));
  if (!numbers.length) return;
  const visible = numbers.map((header) => matches(header, names));
  numbers.forEach((header, i) => (header.hidden = !visible[i]));
  for (const row of table.tBodies[0].rows) numbers.forEach((header, i) => (cellBelow(header, row).hidden = !visible[i]));
  for (const group of table.querySelectorAll("th.group")) {
    const first = Number(group.dataset.first), end = first + Number(group.dataset.span);
    const count = visible.slice(first, end).filter(Boolean).length;
    group.hidden = !count;
    group.colSpan = count || 1;
  }
  const section = table.closest("section.table");
  if (section) section.hidden = !visible.some(Boolean);
  enter(table);
}
function filterAll() {
  document.querySelectorAll("table").forEach(filterTable);
  for (const element of document.querySelectorAll("figure[data-task], .pictures"))
    element.hidden = !matches(element, ["task", "dataset", "network"]);
}
document.addEventListener("change", (event) => event.target.closest("[data-filter]") && filterAll());
document.querySelectorAll("table").forEach(enter);
if (filters().some((select) => select.value)) filterAll(); // a reload keeps the values

// Printing: everything that is folded is shown

const opened = [];
addEventListener("beforeprint", () => {
  for (const element of document.querySelectorAll("details:not([open])")) {
    element.open = true;
    opened.push(element);
  }
});
addEventListener("afterprint", () => opened.splice(0).forEach((element) => (element.open = false)));
