// Draws the figures with the page's colours, again when the scheme changes, and light for print.
(() => {
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 600px)");
  const touch = matchMedia("(pointer: coarse)");
  const plots = [...document.querySelectorAll(".plot")];

  const ON_LIGHT = Object.fromEntries(Object.entries(ON_DARK).map(([light, dark]) => [dark, light]));

  // The colours of a figure for the page's scheme, as hypocenter.figures.look.restyle has them.
  function coloured(value, key = "") {
    if (typeof value === "string") {
      const dark = scheme.matches && !document.body.classList.contains("print");
      const swaps = dark ? ON_DARK : ON_LIGHT;
      return /color|shadow/.test(key) ? value.replace(/#[0-9a-f]{6}/g, (colour) => swaps[colour] ?? colour) : value;
    }
    if (Array.isArray(value)) return value.map((part) => coloured(part, key));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, coloured(part, name)]));
  }

  function dressed(layout) {
    // A figure stands on the page's paper.
    const dress = { ...layout, autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" };
    // A finger that scrolls the page must not zoom a figure.
    if (touch.matches) dress.dragmode = false;
    for (const key of narrow.matches ? Object.keys(layout).filter((k) => /^[xy]axis\d*$/.test(k)) : []) {
      dress[key] = { ...layout[key], tickfont: { size: 10, ...layout[key].tickfont } };
    }
    if (narrow.matches && layout.annotations) {
      dress.annotations = layout.annotations.map((note) => ({ ...note, font: { ...note.font, size: 10 } }));
    }
    return dress;
  }

  function draw(plot) {
    const source = document.querySelector(`script[data-for="${plot.id}"]`);
    const figure = coloured(JSON.parse(source.textContent));
    return Plotly.react(plot, figure.data, dressed(figure.layout), {
      responsive: true, displaylogo: false, displayModeBar: false,
    });
  }

  const drawAll = () => plots.map(draw);
  // One after the other, each shown before the next is begun: nobody waits for what is further down.
  const shown = () => new Promise((done) => setTimeout(done));
  (async () => {
    for (const plot of plots) {
      await draw(plot);
      await shown();
    }
    document.body.classList.add("drawn");
  })();
  scheme.addEventListener("change", drawAll);
  narrow.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => { document.body.classList.add("print"); drawAll(); });
  addEventListener("afterprint", () => { document.body.classList.remove("print"); drawAll(); });
})();
