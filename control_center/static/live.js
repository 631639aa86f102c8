// A run as it happens, from server-sent events; a lost connection is taken up where it broke.
(function () {
  "use strict";
  var holder = document.getElementById("live");
  var run = holder.dataset.run;
  var table = document.getElementById("components");
  var log = document.getElementById("log");
  var doing = document.getElementById("doing");
  var bar = document.getElementById("step");
  var connection = document.getElementById("connection");
  var memory = document.getElementById("memory");
  var words = { complete: "✓", cached: "= reused", failed: "✗ failed", running: "… running", waiting: "waiting" };
  var state = null;

  function nodes(name) {
    return Array.from(document.querySelectorAll(".graph .node")).filter(function (node) {
      var shown = node.querySelector(".node-name").textContent;
      return shown === name || (name === "ImportSchemaGen" && shown === "SchemaGen");
    });
  }

  function seconds(component) {
    if (component.seconds !== null) return component.seconds;
    return component.since ? Math.max(0, Date.now() / 1000 - component.since) : null;
  }

  function paint() {
    if (!state) return;
    table.replaceChildren();
    state.components.forEach(function (c) {
      var took = seconds(c);
      var line = document.createElement("tr");
      line.className = c.state;
      [c.name, words[c.state] || c.state, took === null ? "–" : took.toFixed(1) + "\u00a0s"].forEach(function (value, i) {
        var cell = document.createElement(i ? "td" : "th");
        if (!i) cell.scope = "row";
        if (i === 2) cell.className = "n";
        cell.textContent = value;
        line.append(cell);
      });
      table.append(line);
      nodes(c.name).forEach(function (node) {
        node.setAttribute("class", "node " + (c.state === "waiting" ? "absent" : c.state));
        node.querySelector(".node-state").textContent =
          c.state === "waiting" ? "waiting" : (words[c.state] || c.state) + (took === null ? "" : " " + took.toFixed(1) + " s");
      });
    });
    var now = state.components.filter(function (c) { return c.state === "running"; })[0];
    var text = [now && now.name, state.doing].filter(Boolean).join(": ") || "working";
    if (state.step) text += " " + state.step.done.toLocaleString("en") + " of " + state.step.total.toLocaleString("en");
    if (doing.textContent !== text) doing.textContent = text;
    bar.hidden = !state.step;
    if (state.step) { bar.max = Math.max(1, state.step.total); bar.value = state.step.done; }
    if (state.memory_bytes) memory.textContent = "· " + (state.memory_bytes / 1e9).toFixed(1) + " GB of memory";
  }

  var source = new EventSource("/api/runs/" + encodeURIComponent(run) + "/events?log_from=" + holder.dataset.from);
  source.onopen = function () { connection.textContent = "live"; };
  source.onerror = function () { connection.textContent = "connection lost, trying again …"; };
  source.addEventListener("state", function (event) { state = JSON.parse(event.data); paint(); });
  source.addEventListener("log", function (event) {
    var atEnd = log.scrollTop + log.clientHeight > log.scrollHeight - 40;
    log.append(JSON.parse(event.data));
    if (log.textContent.length > 400000) log.textContent = log.textContent.slice(-200000);
    if (atEnd) log.scrollTop = log.scrollHeight;
  });
  source.addEventListener("end", function () { source.close(); location.reload(); });
  window.addEventListener("pagehide", function () { source.close(); });
  setInterval(paint, 1000);
  log.scrollTop = log.scrollHeight;
})();
