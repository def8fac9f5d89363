// Draws the figures with the page's colours, again when the scheme changes, and light for print.
(() => {
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 600px)");
  const touch = matchMedia("(pointer: coarse)");
  const plots = [...document.querySelectorAll(".plot")];

  function colours() {
    const style = getComputedStyle(document.body);
    const ink = style.getPropertyValue("--ink").trim(), line = style.getPropertyValue("--line").trim();
    return { ink, line };
  }

  function dressed(layout) {
    const { ink, line } = colours();
    const dress = { ...layout, autosize: true };
    // A figure on a sheet of its own, as the map, keeps its ink; the others stand on the page's paper.
    const sheet = "paper_bgcolor" in layout;
    if (!sheet) {
      dress.font = { ...layout.font, color: ink };
      dress.paper_bgcolor = dress.plot_bgcolor = "rgba(0,0,0,0)";
    }
    dress.hoverlabel = { ...layout.hoverlabel, align: "left" };
    // A finger that scrolls the page must not zoom a figure.
    if (touch.matches) dress.dragmode = false;
    for (const key of sheet ? [] : Object.keys(layout).filter((k) => /^[xy]axis\d*$/.test(k))) {
      dress[key] = { gridcolor: line, linecolor: line, zerolinecolor: line, tickcolor: line, ...layout[key] };
      if (narrow.matches) dress[key].tickfont = { size: 10, ...layout[key].tickfont };
    }
    return dress;
  }

  function draw(plot) {
    const source = document.querySelector(`script[data-for="${plot.id}"]`);
    const figure = JSON.parse(source.textContent);
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
