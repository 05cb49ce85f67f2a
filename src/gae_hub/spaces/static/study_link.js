// Writes the values of the controls into the address, those that are not as at first. Python replaces FIRST.

const entries = Object.entries(FIRST).map(([name, first], i) => [name, first, values[i]]);
const isFirst = (first, value) => JSON.stringify(first) === JSON.stringify(value);
writeState(Object.fromEntries(entries.map(([name, first, value]) => [name, isFirst(first, value) ? null : value])));
