// How the agent is, and whether somebody tampers: by hour, by stream, and what holds the records together.

import { axes, Chart } from "./charts.js";
import { css, fill, h, text } from "./dom.js";
import { EventList, merge } from "./events.js";
import { get, session } from "./net.js";
import { time } from "./strip.js";
import { S } from "./strings.js";

const EVERY_MS = 5000, DAY_S = 86400;

// A bar from hour to hour, however few there are.
function hours(plot, series, from, to) {
  const fill = new Path2D(), stroke = new Path2D();
  for (let i = from; i <= to; i += 1) {
    const left = plot.valToPos(plot.data[0][i] - 1600, "x", true), right = plot.valToPos(plot.data[0][i] + 1600, "x", true);
    const top = plot.valToPos(plot.data[series][i], "y", true), base = plot.valToPos(0, "y", true);
    // Nothing suspect in an hour with windows still leaves a mark: the hour was watched.
    fill.rect(left, Math.min(top, base - 3), Math.max(2, right - left), Math.max(3, base - top));
  }
  return { fill, stroke };
}

export class HealthPage {
  constructor(root, app) {
    this.app = app;
    this.events = new Map();
    this.build(root);
    this.pull();
    this.timer = setInterval(() => this.pull(), EVERY_MS);
  }

  build(root) {
    this.rateBox = h("div", { class: "plot" });
    this.rateNone = h("p", { class: "muted" });
    this.chart = new Chart(this.rateBox, () => this.rateOptions(), 170);
    const part = (name) => (this[name] = h("div", { id: name }));
    this.list = new EventList(340);
    this.search = h("input", {
      type: "search", "aria-label": S.health.eventsSearch, placeholder: S.health.eventsSearch, id: "event-search",
      oninput: () => this.listEvents(),
    });
    this.count = h("span", { class: "muted", role: "status" });
    const card = (title, ...children) => h("section", { class: "card" }, h("h2", {}, title), ...children);
    fill(root, h("h1", {}, S.health.title), part("reasons"),
      h("div", { class: "two" },
        card(S.health.rate, h("p", { class: "muted" }, S.health.rateHint), this.rateNone, this.rateBox),
        card(S.health.most, part("most"))),
      h("div", { class: "three" },
        card(S.health.chain, part("chain")), card(S.health.faults, part("faults")), card(S.health.update, part("update"))),
      h("div", { class: "three" }, card(S.health.sources, part("sources")), card(S.health.sinks, part("sinks")),
        card(S.health.disk, part("disk"))),
      h("section", { class: "card" },
        h("div", { class: "tools" }, h("h2", {}, S.health.events), this.search, this.count), this.list.root),
      card(S.health.about, part("about")));
  }

  async pull() {
    if (document.hidden) return;
    try {
      const [facts, events] = await Promise.all([get("/api/health"), get("/api/events")]);
      if (this.closed) return;
      this.app.tell("", false);
      this.show(facts);
      merge(this.events, events.events);
      this.listEvents();
    } catch (error) {
      if (error.status === 401) {
        window.dispatchEvent(new CustomEvent("wavewall-login", { detail: error.facts }));
        return;
      }
      this.app.tell(S.connection.lost, false);
    }
  }

  show(facts) {
    const { health, info } = facts;
    this.hours = facts.hours;
    const known = facts.hours.length > 0;
    text(this.rateNone, known ? "" : S.health.noRate);
    this.rateBox.hidden = !known;
    if (known) {
      this.now = facts.now;
      this.chart.set([this.hours.map((o) => o.t + 1800),
        this.hours.map((o) => (o.windows ? (100 * o.suspect) / o.windows : 0))]);
      this.rateBox.setAttribute("role", "img");
      const last = facts.hours[facts.hours.length - 1];
      this.rateBox.setAttribute("aria-label", `${S.health.rate}: ${S.health.hour(last.windows, last.suspect)}`);
    }
    fill(this.most, facts.suspected.length ? table([S.health.table.stream, S.health.table.suspect, S.health.table.windows,
      S.health.table.share], facts.suspected.map((row) => [
      h("a", { href: `#/stream/${encodeURIComponent(row.stream)}` }, row.stream), row.suspect, row.windows,
      `${((100 * row.suspect) / Math.max(1, row.windows)).toFixed(1)} %`])) : h("p", { class: "muted" }, S.health.noneSuspected));
    fill(this.chain, facts.chain ? [h("p", { class: "muted" }, facts.chain.signed ? S.health.chainSigned
      : S.health.chainPlain), pairs(facts.chain)]
      : h("p", { class: "muted" }, S.health.chainOff));
    fill(this.update, facts.update?.last || (facts.update && facts.update.stage !== "serving")
      ? pairs({ stage: facts.update.stage, ...facts.update.last }) : h("p", { class: "muted" }, S.health.noUpdate));
    const faults = Object.entries(health.counters).filter(([name]) => name in S.health.counters)
      .flatMap(([name, value]) => (typeof value === "object"
        ? Object.entries(value).map(([part, n]) => [`${S.health.counters[name]}: ${part}`, n])
        : [[S.health.counters[name], value]])).filter(([, n]) => n > 0);
    fill(this.faults, faults.length ? table([S.health.table.what, S.health.table.count], faults)
      : h("p", { class: "muted" }, S.health.noFaults));
    fill(this.sources, (health.sources || []).map((one) => pairs(one)));
    fill(this.sinks, (health.sinks || []).map((one) => pairs(one)));
    fill(this.disk, health.disk?.length ? health.disk.map((one) => pairs(one))
      : h("p", { class: "muted" }, S.health.diskOff));
    fill(this.reasons, (health.reasons || []).map((one) => h("p", { class: "notice" }, one)));
    const { bundle, ...rest } = info;
    fill(this.about, h("div", { class: "pair" }, pairs(rest), pairs(bundle)));
    this.app.health(health);
  }

  rateOptions() {
    return {
      series: [{}, {
        label: "%", stroke: css("--suspect"), fill: `${css("--suspect")}66`, width: 1,
        paths: hours, points: { show: false },
        value: (_, v) => (v === null ? "–" : `${v.toFixed(1)} %`),
      }],
      scales: { x: { time: true, range: () => this.span() }, y: { range: (_, low, high) => [0, Math.max(5, (high || 0) * 1.1)] } },
      axes: [{ ...axes()[0], values: (_, ticks) => ticks.map((t) => time(t).slice(0, 5)) },
        { ...axes(undefined, (_, ticks) => ticks.map((t) => `${t} %`))[1] }],
      cursor: { y: false }, legend: { show: false },
    };
  }

  // A day at least, a week at most, to the end of this hour.
  span() {
    const end = Math.ceil(this.now / 3600) * 3600;
    return [Math.min(end - DAY_S, this.hours[0].t), end];
  }

  listEvents() {
    const query = this.search.value.trim().toLowerCase();
    const all = [...this.events.values()].sort((a, b) => b.since - a.since);
    const shown = query ? all.filter((e) => `${e.stream} ${e.label}`.toLowerCase().includes(query)) : all;
    this.list.set(shown, session.hello.events ? S.stream.noEvents : S.stream.eventsOff);
    text(this.count, all.length ? S.health.eventsCount(shown.length, all.length) : "");
  }

  shortcut() {}

  repaint() {
    this.chart.again();
  }

  close() {
    this.closed = true;
    clearInterval(this.timer);
    this.chart.close();
  }
}

function table(heads, rows) {
  return h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell))))));
}

function pairs(facts) {
  const shown = Object.entries(facts).filter(([, value]) => value !== "" && value !== null
    && !(typeof value === "object" && Object.keys(value).length === 0));
  return h("dl", {}, shown.map(([name, value]) => [h("dt", {}, name.replace(/_?bytes$/, (all) => (all === "bytes" ? "size" : "")).replaceAll("_", " ")),
    h("dd", { class: name === "error" ? "bad" : null }, Array.isArray(value) ? value.join(", ")
      : /bytes$/.test(name) ? `${(value / 1e6).toFixed(1)} ${S.units.mb}` : typeof value === "object" ? Object.entries(value).map(([k, v]) => `${k} ${v}`).join(", ") : String(value))]));
}
