// An invisible component that receives an answer and hands it to its panel.

watch("value", () => {
  window.dispatchEvent(new CustomEvent(`gae:answer:${props.channel}`, { detail: props.value }));
});
