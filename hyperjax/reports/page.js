(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const touch = matchMedia("(pointer: coarse)").matches; // there a drag must scroll the page
  const config = { responsive: true, displaylogo: false };
  const closer = document.getElementById("closer");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  document.documentElement.classList.add("js");

  // ---- figures: painted from the page's own colours, again whenever those change
  const holders = [...document.querySelectorAll("[data-figure]")];
  let pinned = null;

  function paint(name) {
    const figure = structuredClone(data.figures[name]);
    const layout = figure.layout;
    layout.paper_bgcolor = layout.plot_bgcolor = "rgba(0,0,0,0)";
    layout.font.color = color("muted");
    layout.hoverlabel = { ...layout.hoverlabel, bgcolor: color("panel"), bordercolor: color("line") };
    layout.hoverlabel.font = { ...layout.hoverlabel.font, color: color("ink") };
    layout.modebar = { color: color("muted"), activecolor: color("accent"), bgcolor: "rgba(0,0,0,0)" };
    for (const [key, axis] of Object.entries(layout)) {
      if (/^[xy]axis/.test(key)) Object.assign(axis, { gridcolor: color("grid"), linecolor: color("line") });
    }
    for (const trace of figure.data) {
      const { role, fill, scale, words } = trace.meta ?? {};
      if (fill) trace.fillcolor = color(fill);
      if (scale) trace.colorscale = scale.map((name, i) => [i / (scale.length - 1), color(name)]);
      if (words) trace.textfont.color = color(words);
      if (role) {
        if (trace.line) trace.line.color = color(role);
        if (trace.marker) {
          trace.marker.color = color(role);
          if (trace.marker.line) trace.marker.line.color = color(role);
        }
        for (const bars of [trace.error_x, trace.error_y]) if (bars) bars.color = color(role);
      }
      if (trace.customdata && data.texts) trace.text = trace.customdata.map((key) => data.texts[key] ?? "");
    }
    for (const note of layout.annotations ?? []) note.font.color = color("diverged");
    if (touch) layout.dragmode = false;
    if (closer?.checked && layout.meta?.close) {
      layout.yaxis.range = layout.meta.close;
      layout.yaxis.autorange = false;
    }
    if (pinned !== null) addPinned(figure);
    return figure;
  }

  function addPinned(figure) {
    const x = [], y = [];
    let axis = "y", marker = true;
    for (const trace of figure.data) {
      trace.customdata?.forEach((key, i) => {
        if (String(key) !== pinned) return;
        x.push(trace.x[i]);
        y.push(trace.y[i]);
        axis = trace.yaxis ?? "y";
        marker = trace.mode === "markers";
      });
    }
    if (!x.length) return;
    figure.data.push({
      x, y, yaxis: axis, type: "scatter", mode: marker ? "markers" : "lines", hoverinfo: "skip", showlegend: false,
      line: { color: color("pinned"), width: 3 },
      marker: { color: "rgba(0,0,0,0)", size: 12, line: { color: color("pinned"), width: 2 } },
    });
  }

  async function draw(holder) {
    const { data: traces, layout } = paint(holder.dataset.figure);
    const large = !holder.classList.contains("low");
    const bar = large && !touch ? { modeBarButtons: [["toImage", "resetScale2d"]] } : { displayModeBar: false };
    if (holder.clientWidth < 560) {
      layout.legend = { ...layout.legend, entrywidth: 96, font: { size: 11 }, itemwidth: 30 };
    }
    await Plotly.react(holder, traces, layout, { ...config, ...bar });
    if (!holder.dataset.wired) {
      holder.dataset.wired = "yes";
      holder.on("plotly_click", (event) => {
        const key = event.points[0]?.customdata;
        if (key !== undefined && key !== null) pin(String(key));
      });
    }
  }
  const drawAll = () => Promise.all(holders.map(draw));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  addEventListener("beforeprint", drawAll);
  addEventListener("afterprint", drawAll);

  // ---- which curves are shown
  for (const button of document.querySelectorAll("[data-shows]")) {
    button.addEventListener("click", () => {
      for (const other of button.parentElement.querySelectorAll("button")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      const holder = document.getElementById(button.dataset.in);
      holder.dataset.figure = button.dataset.shows;
      holder.setAttribute("aria-label", button.dataset.label);
      draw(holder);
    });
  }

  closer?.addEventListener("change", () => draw(document.getElementById("curves")));

  // ---- one trial followed through the page
  const line = document.getElementById("pinned");
  function pin(key) {
    pinned = key === pinned ? null : key;
    for (const button of document.querySelectorAll("button.trial")) {
      const chosen = button.dataset.trial === pinned;
      button.setAttribute("aria-pressed", String(chosen));
      button.closest("tr").toggleAttribute("aria-selected", false);
      if (chosen) button.closest("tr").setAttribute("aria-selected", "true");
    }
    if (line) {
      const holder = document.createElement("div");
      holder.innerHTML = pinned === null ? "" : (data.texts[pinned] ?? "").replaceAll("<br>", " · ");
      line.replaceChildren(document.createTextNode(pinned === null ? line.dataset.hint : holder.textContent));
      if (pinned !== null) {
        const clear = document.createElement("button");
        clear.type = "button";
        clear.textContent = "Clear";
        clear.addEventListener("click", () => pin(pinned));
        line.append(" ", clear);
      }
    }
    drawAll();
  }
  for (const button of document.querySelectorAll("button.trial")) {
    button.addEventListener("click", () => pin(button.dataset.trial));
  }

  // ---- copying code
  for (const button of document.querySelectorAll("[data-copies]")) {
    const code = document.getElementById(button.dataset.copies);
    const said = button.textContent;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected: press Ctrl+C or ⌘C";
      }
      setTimeout(() => { button.textContent = said; }, 3000);
    });
  }

  // ---- tables that sort and filter
  for (const table of document.querySelectorAll("table[data-sorts]")) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    const names = heads.map((head) => head.dataset.name.toLowerCase());
    const numeric = heads.map((head) => head.dataset.type === "number");
    const read = (row, i) => {
      const cell = row.cells[i];
      if (!numeric[i]) return cell.textContent.trim().toLowerCase();
      const value = cell.dataset.value;
      return value === undefined || value === "" ? NaN : Number(value);
    };

    heads.forEach((head, i) => head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const missing = (value) => (numeric[i] ? Number.isNaN(value) : value === "–");
      rows.sort((a, b) => {
        const [left, right] = [read(a, i), read(b, i)];
        if (missing(left) || missing(right)) return missing(left) - missing(right);
        const order = numeric[i] ? left - right : left.localeCompare(right, undefined, { numeric: true });
        return up ? order : -order;
      });
      body.append(...rows);
    }));

    const input = document.getElementById(table.dataset.filter);
    const count = document.getElementById(table.dataset.count);
    if (!input) continue;
    const compare = {
      ">": (a, b) => a > b, "<": (a, b) => a < b, ">=": (a, b) => a >= b, "<=": (a, b) => a <= b,
      "=": (a, b) => a === b, "!=": (a, b) => a !== b,
    };
    const test = (token) => {
      const parts = token.match(/^([^<>=!]+)(<=|>=|!=|=|<|>)(.+)$/);
      if (!parts) return { holds: (row) => row.textContent.toLowerCase().includes(token) };
      const [, name, sign, wanted] = parts;
      const near = names.flatMap((known, i) => (known.includes(name) ? [i] : []));
      const column = names.includes(name) ? names.indexOf(name) : near.length === 1 ? near[0] : -1;
      if (column < 0) return { problem: near.length ? `“${name}” fits several columns` : `no column “${name}”` };
      if (!numeric[column]) {
        if (sign !== "=" && sign !== "!=") return { problem: `“${name}” holds words: use = or !=` };
        return { holds: (row) => compare[sign](read(row, column), wanted) };
      }
      const number = Number(wanted);
      if (Number.isNaN(number)) return { problem: `“${wanted}” is not a number` };
      // what is read off the table is rounded, so equality is equality of what is shown
      const same = (row) => Number(row.cells[column].textContent) === number || read(row, column) === number;
      if (sign === "=") return { holds: same };
      if (sign === "!=") return { holds: (row) => !Number.isNaN(read(row, column)) && !same(row) };
      return { holds: (row) => compare[sign](read(row, column), number) };
    };
    const filter = () => {
      const typed = input.value.toLowerCase().replace(/\s*(<=|>=|!=|=|<|>)\s*/g, "$1");
      const tests = typed.split(/\s+/).filter(Boolean).map(test);
      const problems = tests.flatMap((one) => one.problem ?? []);
      const active = tests.filter((one) => one.holds);
      let shown = 0;
      for (const row of rows) {
        row.hidden = !active.every((one) => one.holds(row));
        shown += !row.hidden;
      }
      count.textContent = [`${shown} of ${rows.length} rows`, ...problems].join("; ");
      input.setAttribute("aria-invalid", String(problems.length > 0));
    };
    input.addEventListener("input", filter);
    filter();
  }

  // ---- a page of a running study loads itself again, and comes back to where it was
  const place = `hyperjax:${location.pathname}`;
  const box = document.getElementById("filter");
  function again() {
    if (document.hidden) return addEventListener("visibilitychange", again, { once: true });
    const shown = document.getElementById("curves")?.dataset.figure;
    const state = { top: scrollY, pinned, shown, filter: box?.value, closer: closer?.checked };
    try { sessionStorage.setItem(place, JSON.stringify(state)); } catch { /* then it begins at the top */ }
    location.reload();
  }
  function recalled() {
    try {
      const state = JSON.parse(sessionStorage.getItem(place));
      sessionStorage.removeItem(place);
      return state;
    } catch { return null; }
  }
  const before = recalled();
  if (before) {
    if (box && before.filter) { box.value = before.filter; box.dispatchEvent(new Event("input")); }
    if (closer) closer.checked = before.closer;
    [...document.querySelectorAll("[data-shows]")].find((one) => one.dataset.shows === before.shown)?.click();
    if (before.pinned !== null) pin(before.pinned);
  }

  async function drawInTurn() { // so that the page answers meanwhile
    for (const holder of holders) {
      await draw(holder);
      await new Promise((next) => setTimeout(next));
    }
  }
  drawInTurn().then(() => {
    if (before) scrollTo({ top: before.top, behavior: "instant" });
    document.documentElement.dataset.ready = "yes";
    if (data.reloads) setTimeout(again, 1000 * data.reloads);
  });
})();
