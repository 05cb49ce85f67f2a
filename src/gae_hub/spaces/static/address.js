// State in the address

function readState(key, fallback = null) {
  return new URLSearchParams(window.location.search).get(key) ?? fallback;
}

function readNumber(key, fallback, minimum, maximum) {
  const text = readState(key);
  const value = Number(text);
  return text === null || !(value >= minimum && value <= maximum) ? fallback : value;
}

// A value that is null or "" is left out; a list has an entry for each item, or an empty one if it has none.
function writeState(values) {
  const query = new URLSearchParams(window.location.search);
  for (const [key, value] of Object.entries(values)) {
    query.delete(key);
    if (Array.isArray(value)) (value.length ? value : [""]).forEach((item) => query.append(key, String(item)));
    else if (value !== null && value !== "") query.set(key, String(value));
  }
  const text = query.toString();
  window.history.replaceState(null, "", text ? `?${text}` : window.location.pathname);
  // a Space is shown in a frame of the Hub's page, which has an address of its own
  if (window.parent !== window) window.parent.postMessage({ queryString: text, hash: "" }, "https://huggingface.co");
}
