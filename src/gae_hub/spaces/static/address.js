// State in the address. All scripts of the page share the values that they have changed.

const addressState = (window.gaeState ??= { values: {}, timer: null });

function readState(key, fallback = null) {
  return new URLSearchParams(window.location.search).get(key) ?? fallback;
}

// A number from minimum to maximum; the fallback if the address has none.
function readNumber(key, fallback, minimum, maximum) {
  const value = Number(readState(key) || NaN);
  return value >= minimum && value <= maximum ? value : fallback;
}

function readInteger(key, fallback, minimum, maximum) {
  const value = readNumber(key, fallback, minimum, maximum);
  return Number.isInteger(value) ? value : fallback;
}

// Change values of the state. A value that is null or "" is left out; a list has an entry for each item, or an empty
// one if it has none. Browsers limit how often a page may change its address, so it is written once the values have
// not changed for 300 ms.
function writeState(values) {
  Object.assign(addressState.values, values);
  clearTimeout(addressState.timer);
  addressState.timer = setTimeout(flushState, 300);
}

function flushState() {
  const query = new URLSearchParams(window.location.search);
  for (const [key, value] of Object.entries(addressState.values)) {
    query.delete(key);
    if (Array.isArray(value)) (value.length ? value : [""]).forEach((item) => query.append(key, String(item)));
    else if (value !== null && value !== "") query.set(key, String(value));
  }
  const text = query.toString();
  // a Space is shown in a frame of the Hub's page, which has an address of its own
  if (window.parent !== window) window.parent.postMessage({ queryString: text, hash: "" }, "https://huggingface.co");
  try {
    window.history.replaceState(null, "", text ? `?${text}` : window.location.pathname);
  } catch {
    addressState.timer = setTimeout(flushState, 5000); // the browser's limit is reached
  }
}
