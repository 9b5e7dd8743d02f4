// Search in a page opened from disk: file:// allows no Worker, so the same script runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      frame.title = "search"
      const attach = () => {
        document.body.append(frame)
        const inner = frame.contentWindow
        const load = address => new Promise((done, failed) => {
          const script = inner.document.createElement("script")
          script.src = address
          script.onload = done
          script.onerror = failed
          inner.document.body.append(script)
        })
        // What the script sends goes to whoever made the worker.
        inner.postMessage = data => {
          const event = new MessageEvent("message", { data })
          if (this.onmessage) this.onmessage(event)
          this.dispatchEvent(event)
        }
        inner.importScripts = (...addresses) =>
          addresses.reduce((before, address) => before.then(() => load(address)), Promise.resolve())
        return load(new URL(url, location.href).href).then(() => inner)
      }
      this.frame = frame
      this.ready = document.body
        ? attach()
        : new Promise(done => document.addEventListener("DOMContentLoaded", () => done(attach())))
    }
    postMessage(data) {
      this.ready.then(inner => inner.dispatchEvent(new inner.MessageEvent("message", { data })))
    }
    terminate() {
      this.frame.remove()
    }
  }
}
