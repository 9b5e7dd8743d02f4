// A verdict's status never by colour alone: a sign, a word and a colour.

import { h } from "./dom.js";
import { S } from "./strings.js";

const SIGN = { ok: "✓", suspect: "!", abstain: "?", offline: "×", none: "…" };

export function kindOf(status, online = true) {
  return online ? status || "none" : "offline";
}

export function badge(kind) {
  return h("span", { class: `badge ${kind}` }, h("span", { class: "sign", "aria-hidden": "true" }, SIGN[kind]), S.status[kind]);
}

export function reason(text) {
  return text.split("+").filter(Boolean).map((one) => S.reasons[one] || one).join("; ");
}
