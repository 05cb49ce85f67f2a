// Resolves to the time once no control has changed for 50 ms: one time for all calls until then.

const settling = (window.gaeSettling ??= {});
clearTimeout(settling.timer);
settling.promise ??= new Promise((resolve) => (settling.resolve = resolve));
settling.timer = setTimeout(() => {
  settling.resolve(String(performance.now()));
  settling.promise = null;
}, 50);
return settling.promise;
