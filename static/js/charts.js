// Draws figure[data-chart] from the table that it holds: first column x, each further column one series. A "line" has
// numbers on its x axis, a "bar" has the words of the first column, and one series.
// The table stays as it is: it is the data, and the chart for whoever does not see one. The figure holds
//   figcaption           what the chart shows
//   details > table      with thead and tbody; th[data-percent] where the cells are percentages
// and has an id, where it may come anew, and data-y, the title of the other axis.
"use strict";
{
  const COLOURS = 4;
  const DASHES = [[], [7, 4], [2, 3], [11, 3, 2, 3]];
  const MARKERS = [
    { style: "circle", path: "M20 6a4 4 0 1 1-8 0a4 4 0 1 1 8 0z" },
    { style: "triangle", path: "M16 1l5 9h-10z" },
    { style: "rectRot", path: "M16 1l5 5-5 5-5-5z" },
    { style: "rect", path: "M12 2h8v8h-8z" },
  ];
  // From the fifth series on a colour comes again, with another marker.
  const look = (index) => ({
    number: (index % COLOURS) + 1,
    dash: DASHES[index % COLOURS],
    marker: MARKERS[(index + Math.floor(index / COLOURS)) % MARKERS.length],
  });
  const SHORT = { maximumSignificantDigits: 6 };
  const PERCENT = { style: "unit", unit: "percent" };
  const charts = new Map();
  const opened = new Set();

  const textOf = (element) => element?.textContent.trim() ?? "";

  // Whatever is no plain number, such as an empty cell, is a gap.
  const numberIn = (cell) => {
    const text = textOf(cell).replace(/\s*%$/, "");
    return text === "" || Number.isNaN(Number(text)) ? null : Number(text);
  };

  const read = (table, { isBar }) => {
    const [first, ...headers] = table.tHead.rows[0].cells;
    const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
    return {
      isBar,
      x: textOf(first),
      percent: headers.some((header) => "percent" in header.dataset),
      series: headers.map((header, index) => ({
        name: textOf(header),
        points: rows
          .map((row) => ({ x: isBar ? textOf(row.cells[0]) : numberIn(row.cells[0]), y: numberIn(row.cells[index + 1]) }))
          .filter((point) => point.x !== null),
      })),
    };
  };

  // A custom property as the colour that it comes to here, in the theme of the moment.
  const colourOf = (figure, property) => {
    const probe = document.createElement("span");
    probe.style.color = `var(${property})`;
    figure.append(probe);
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  };

  const dataset = (figure, { name, points }, index) => {
    const { number, dash, marker } = look(index);
    const colour = colourOf(figure, `--series-${number}`);
    return {
      label: name,
      data: points,
      borderColor: colour,
      backgroundColor: colour,
      borderDash: dash,
      borderWidth: 2,
      pointStyle: marker.style,
      pointRadius: points.length > 60 ? 1.5 : 3.5,
      pointHoverRadius: 6,
    };
  };

  const axis = (figure, { title, ticks, bounds, type = "linear" }) => ({
    type,
    bounds,
    title: { display: title !== "", text: title, color: colourOf(figure, "--muted") },
    ticks: { ...ticks, color: colourOf(figure, "--muted") },
    grid: { color: colourOf(figure, "--line") },
    border: { color: colourOf(figure, "--line") },
  });

  const options = (figure, { x, percent, isBar }) => ({
    animation: false,
    maintainAspectRatio: false,
    interaction: { mode: "index", intersect: false },
    scales: {
      x: isBar
        ? axis(figure, { title: x, type: "category", ticks: {} })
        : axis(figure, { title: x, bounds: "data", ticks: { precision: 0, format: SHORT } }),
      y: axis(figure, {
        title: figure.dataset.y ?? "",
        bounds: "ticks",
        ticks: { format: percent ? PERCENT : SHORT },
      }),
    },
    plugins: {
      legend: { display: false },
      tooltip: {
        backgroundColor: colourOf(figure, "--raised"),
        borderColor: colourOf(figure, "--line"),
        borderWidth: 1,
        titleColor: colourOf(figure, "--text"),
        bodyColor: colourOf(figure, "--text"),
        usePointStyle: true,
        callbacks: { title: ([item]) => `${x} ${item.label}` },
      },
    },
  });

  const legendEntry = ({ name }, index) => {
    const { number, dash, marker } = look(index);
    const entry = document.createElement("li");
    entry.className = `series-${number}`;
    entry.innerHTML = `<svg viewBox="0 0 32 12" aria-hidden="true">
      <line x1="0" y1="6" x2="32" y2="6" stroke-dasharray="${dash.join(" ")}"/><path d="${marker.path}"/></svg>`;
    entry.append(name);
    return entry;
  };

  const describe = (figure, { x, series, isBar }) => {
    const names = series.map(({ name }) => name).join(", ");
    return `${textOf(figure.querySelector("figcaption"))}: ${isBar ? "bar" : "line"} chart of ${names} by ${x}. The table holds its figures.`;
  };

  const frame = (figure) => {
    const legend = document.createElement("ul");
    legend.className = "chart-legend";
    const box = document.createElement("div");
    box.className = "chart-canvas";
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    box.append(canvas);
    figure.querySelector("figcaption").after(legend, box);
    if (opened.has(figure.id)) figure.querySelector("details").open = true;
    return canvas;
  };

  const draw = (figure) => {
    const type = figure.dataset.chart;
    const content = read(figure.querySelector("table"), { isBar: type === "bar" });
    const canvas = figure.querySelector("canvas") ?? frame(figure);
    canvas.setAttribute("aria-label", describe(figure, content));
    figure.classList.toggle("chart-empty", content.series.every(({ points }) => !points.some(({ y }) => y !== null)));
    // The bars of one series are told by the axis.
    figure.querySelector(".chart-legend").replaceChildren(...(content.isBar ? [] : content.series.map(legendEntry)));
    const data = { datasets: content.series.map((series, index) => dataset(figure, series, index)) };
    const chart = charts.get(figure);
    if (chart) {
      Object.assign(chart, { data, options: options(figure, content) });
      chart.update("none");
    } else {
      charts.set(figure, new Chart(canvas, { type, data, options: options(figure, content) }));
    }
  };

  const drawAll = () => {
    for (const [figure, chart] of charts) {
      if (figure.isConnected) continue;
      chart.destroy();
      charts.delete(figure);
    }
    document.querySelectorAll("figure[data-chart]").forEach(draw);
  };

  // Once before the next painting, however many rows have come in.
  let drawing = 0;
  const drawSoon = () => {
    cancelAnimationFrame(drawing);
    drawing = requestAnimationFrame(drawAll);
  };

  // A table that the reader has opened is open again when its figure comes anew.
  document.addEventListener("toggle", ({ target }) => {
    const { id } = target.closest("figure[data-chart]") ?? {};
    if (id && target.open) opened.add(id);
    else opened.delete(id);
  }, true);

  Chart.defaults.locale = document.documentElement.lang;
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  drawAll();
  document.addEventListener("htmx:afterSwap", drawSoon);
  new MutationObserver(drawSoon).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);
}
