// Talking to the agent: the way in, one feed at a time, and requests that carry the CSRF token.

import { S } from "./strings.js";

export const session = { csrf: "", user: "", hello: null, offset: 0 };

export class Refused extends Error {
  constructor(status, facts) {
    super(facts.error || `HTTP ${status}`);
    this.status = status;
    this.facts = facts;
  }
}

export async function enter(token) {
  const hello = await request("/api/enter", { method: "POST", body: JSON.stringify(token ? { token } : {}) });
  session.csrf = hello.csrf;
  session.user = hello.user;
  session.hello = hello;
  clock(hello.now);
  return hello;
}

// The gateway's time by its own clock; the browser's may be wrong by years.
export function now() {
  return Date.now() / 1000 + session.offset;
}

export function clock(gateway) {
  session.offset = gateway - Date.now() / 1000;
}

export async function get(path, parameters = {}) {
  return request(`${path}?${new URLSearchParams(parameters)}`);
}

export async function act(path, body) {
  return request(path, { method: "POST", body: JSON.stringify(body) });
}

async function request(path, options = {}) {
  const headers = { "content-type": "application/json", "x-wavewall-csrf": session.csrf };
  const response = await fetch(path, { ...options, headers, credentials: "same-origin" });
  let facts = {};
  try {
    facts = await response.json();
  } catch {
    facts = { error: `HTTP ${response.status}` };
  }
  if (!response.ok) throw new Refused(response.status, facts);
  return facts;
}

// One feed that stays up: it is closed while the page is hidden and opened again after a restart of the agent.
// Each opening begins with `hello` and a snapshot, so nothing is ever shown twice.
export class Feed {
  constructor(url, handlers, tell) {
    this.url = url;
    this.handlers = handlers;
    this.tell = tell;
    this.source = null;
    this.timer = 0;
    this.tries = 0;
    this.closed = false;
    this.boot = "";
    this.onVisible = () => (document.hidden ? this.drop() : this.open());
    document.addEventListener("visibilitychange", this.onVisible);
    this.open();
  }

  open() {
    if (this.closed || this.source || document.hidden) return;
    clearTimeout(this.timer);
    const source = new EventSource(this.url);
    this.source = source;
    for (const [name, handle] of Object.entries(this.handlers)) {
      source.addEventListener(name, (event) => {
        if (source !== this.source) return;
        const data = JSON.parse(event.data);
        if (data.now) clock(data.now);
        if (name === "hello") this.greeted(data);
        handle(data);
      });
    }
    source.onerror = () => this.failed(source);
  }

  greeted(hello) {
    session.hello = { ...session.hello, ...hello };
    this.tries = 0;
    this.tell(this.boot && this.boot !== hello.boot_id ? S.connection.restarted : "", !!this.boot);
    this.boot = hello.boot_id;
  }

  // The browser's own retry gives up on an HTTP error (a restarted agent has forgotten the session): ours does not.
  failed(source) {
    if (source !== this.source) return;
    this.drop();
    this.tries += 1;
    if (this.tries > 1) this.tell(S.connection.lost, false);
    this.timer = setTimeout(async () => {
      try {
        await enter();
      } catch (error) {
        if (error instanceof Refused && error.status === 401) {
          this.close();
          window.dispatchEvent(new CustomEvent("wavewall-login", { detail: error.facts }));
          return;
        }
      }
      this.open();
    }, Math.min(8000, 400 * 2 ** Math.min(this.tries, 5)) * (0.75 + Math.random() / 2));
  }

  drop() {
    clearTimeout(this.timer);
    if (this.source) this.source.close();
    this.source = null;
  }

  close() {
    this.closed = true;
    this.drop();
    document.removeEventListener("visibilitychange", this.onVisible);
  }
}
