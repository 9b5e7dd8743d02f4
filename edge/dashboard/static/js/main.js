// Routes, the line at the top, colours and the way in.

import { fill, h, put, text } from "./dom.js";
import { HealthPage } from "./health.js";
import { act, enter, Refused, session } from "./net.js";
import { Overview } from "./overview.js";
import { StreamPage } from "./streampage.js";
import { S } from "./strings.js";

const main = document.getElementById("main"), banner = document.getElementById("banner");
const SKEW_S = 5;
let page = null, quiet = 0;

const app = {
  // A line under the top; one that is only news goes away by itself.
  tell(words, passing) {
    clearTimeout(quiet);
    const skew = Math.abs(session.offset);
    const line = words || (skew > SKEW_S ? S.connection.skew(Math.round(skew)) : "");
    text(banner, line);
    banner.hidden = !line;
    banner.className = words && !passing ? "bad" : "";
    if (words && passing) quiet = setTimeout(() => app.tell("", false), 6000);
  },
  vitals(facts) {
    const passed = (performance.now() - (app.at || 0)) / 1000;
    if (app.before && passed > 0.5) {
      const rate = Math.max(0, facts.windows - app.before) / passed;
      app.rate = app.rate === undefined ? rate : app.rate + 0.3 * (rate - app.rate);
    }
    if (!app.at || passed > 0.5) [app.at, app.before] = [performance.now(), facts.windows];
    const sinks = (facts.sinks || []).filter((sink) => sink.kind === "mqtt");
    const broken = sinks.find((sink) => sink.error), waiting = sinks.reduce((sum, sink) => sum + sink.waiting, 0);
    const broker = !sinks.length ? S.vitals.none : broken ? broken.error : waiting > 50 ? S.vitals.waiting(waiting)
      : S.vitals.fine;
    show([
      [S.vitals.streams, `${facts.online} / ${facts.streams}`], [S.vitals.windows, (app.rate ?? 0).toFixed(1)],
      [S.vitals.lag, facts.lag_s === null ? "–" : `${Math.max(0, facts.lag_s).toFixed(1)} s`, facts.lag_s > 5],
      [S.vitals.dropped, facts.dropped, facts.dropped > 0], [S.vitals.queue, facts.queue],
      [S.vitals.memory, `${Math.round(facts.rss_bytes / 1e6)} MB`], [S.vitals.broker, broker, !!broken],
      [S.vitals.model, facts.model],
    ]);
  },
  health(facts) {
    show([
      [S.vitals.streams, `${facts.online} / ${facts.streams}`], [S.vitals.queue, facts.counters.queue_blocks ?? 0],
      [S.vitals.memory, `${Math.round(facts.rss_bytes / 1e6)} MB`],
      [S.vitals.state, facts.status, facts.status !== "ok"], [S.vitals.model, session.hello.model],
    ]);
  },
};

const vitals = h("dl", { class: "vitals", "aria-label": S.vitals.label });
const cells = new Map();

function show(rows) {
  const names = new Set(rows.map(([name]) => name));
  for (const [name, cell] of cells) {
    if (!names.has(name)) {
      cell.root.remove();
      cells.delete(name);
    }
  }
  for (const [name, value, bad] of rows) {
    let cell = cells.get(name);
    if (!cell) {
      cell = { value: h("dd") };
      cell.root = h("div", {}, h("dt", {}, name), cell.value);
      cells.set(name, cell);
    }
    vitals.append(cell.root);
    text(cell.value, value);
    cell.root.className = bad ? "bad" : "";
  }
}

function top() {
  const link = (hash, words) => h("a", { href: hash, class: "nav" }, words);
  const themes = ["auto", "light", "dark"];
  const chosen = localStorage.getItem("wavewall-theme") || "auto";
  const select = h("select", { "aria-label": S.theme.label, id: "theme", onchange: () => theme(select.value) },
    themes.map((name) => h("option", { value: name, selected: name === chosen }, S.theme[name])));
  const leave = session.user === "token" && h("button", {
    type: "button", onclick: async () => { await act("/api/leave", {}); location.reload(); },
  }, S.login.out);
  fill(document.getElementById("top"),
    h("div", { class: "brand" }, h("img", { src: "/static/icon.svg", alt: "", width: 28, height: 28 }),
      h("span", {}, h("strong", {}, S.name), h("span", { class: "node" }, session.hello?.node ?? ""))),
    h("nav", { "aria-label": S.nav.label }, link("#/", S.nav.streams), link("#/health", S.nav.health)),
    vitals, put(h("div", { class: "right" }), [select, leave]));
}

function theme(name) {
  localStorage.setItem("wavewall-theme", name);
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  page?.repaint?.();
}

function route() {
  page?.close();
  page = null;
  main.replaceChildren();
  const path = location.hash.replace(/^#\/?/, "");
  const [name, rest] = [path.split("/")[0], path.split("/").slice(1).join("/")];
  let title = S.nav.streams;
  if (name === "stream" && rest) {
    let id = rest;
    try {
      id = decodeURIComponent(rest);
    } catch {
      // not ours; shown as it is
    }
    title = id;
    page = new StreamPage(main, app, id);
  } else if (name === "health") {
    title = S.nav.health;
    page = new HealthPage(main, app);
  } else {
    page = new Overview(main, app);
  }
  document.title = `${title} · ${S.name}`;
  window.scrollTo(0, 0);
  for (const link of document.querySelectorAll("a.nav")) {
    const here = link.getAttribute("href") === (name === "health" ? "#/health" : "#/");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  window.wavewall = { page, session };
}

function login(facts) {
  page?.close();
  page = null;
  if (facts.wants === "proxy") {
    fill(main, h("div", { class: "card login" }, h("p", {}, S.login.proxy)));
    return;
  }
  const field = h("input", { type: "password", id: "token", autocomplete: "current-password", required: true, maxlength: 512 });
  const state = h("p", { class: "bad", role: "alert" });
  let asking = false; // answers would come in any order
  const form = h("form", {
    class: "card login",
    onsubmit: async (event) => {
      event.preventDefault();
      if (asking) return;
      asking = true;
      text(state, "");
      try {
        await enter(field.value);
        begin();
      } catch (error) {
        const wait = error instanceof Refused && error.facts.wait;
        text(state, wait ? S.login.wait(wait) : error.status === 401 ? S.login.wrong : error.message);
        field.select();
      } finally {
        asking = false;
      }
    },
  }, h("h1", {}, S.login.title), h("p", { class: "muted" }, S.login.hint), h("label", { for: "token" }, S.login.label),
  field, h("button", { class: "primary" }, S.login.button), state);
  fill(main, form);
  field.focus();
}

function begin() {
  top();
  route();
}

async function start() {
  text(document.getElementById("skip"), S.skip);
  document.getElementById("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address holds the page
    main.focus();
  });
  theme(localStorage.getItem("wavewall-theme") || "auto");
  window.addEventListener("hashchange", () => session.hello && route());
  window.addEventListener("wavewall-login", (event) => login(event.detail));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => page?.repaint?.());
  document.addEventListener("keydown", (event) => {
    if (!event.target.closest("input, select, textarea, dialog")) page?.shortcut?.(event);
  });
  try {
    await enter();
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      top();
      login(error.facts);
      return;
    }
    app.tell(error instanceof Refused ? error.message : S.connection.lost, false);
    setTimeout(start, 3000);
    return;
  }
  begin();
}

start();
