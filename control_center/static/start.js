// The config is checked as a whole while it is typed; nothing starts while it is wrong.
(function () {
  "use strict";
  var text = document.getElementById("config-text");
  var check = document.getElementById("check");
  var button = document.getElementById("start");
  var force = document.getElementById("force");
  var path = document.getElementById("data-path");
  var forecast = document.getElementById("forecast");
  var help = document.getElementById("key-help");
  var timer = null, number = 0, last = null;

  function element(name, content, class_) {
    var made = document.createElement(name);
    made.textContent = content;
    if (class_) made.className = class_;
    return made;
  }

  function show(answer) {
    last = answer;
    check.replaceChildren();
    forecast.replaceChildren();
    if (!answer.ok) {
      var problem = answer.problem;
      check.append(element("p", problem.message, "problem"));
      if (problem.cases.length > 1) {
        var list = document.createElement("ul");
        problem.cases.forEach(function (c) {
          list.append(element("li", Object.values(c).join(": ")));
        });
        check.append(list);
      }
      if (problem.next) check.append(element("p", problem.next, "hint"));
      forecast.append(row(["–", "", "when the config is right"]));
    } else if (answer.unchanged) {
      check.append(element("p", "Nothing changed since run " + answer.unchanged +
        ", whose version is deployed: there is nothing to do.", "same"));
    } else {
      check.append(element("p", "The config is right.", "right"));
    }
    (answer.forecast || []).forEach(function (c) {
      forecast.append(row([c.component, c.cache === "hit" ? "reuse" : "run", c.why], c.cache));
    });
    enable();
  }

  function row(values, class_) {
    var made = element("tr", "", class_);
    values.forEach(function (v, i) {
      var cell = element(i ? "td" : "th", i === 1 ? "" : v.replaceAll("`", ""));
      if (!i) cell.scope = "row";
      if (i === 1 && v) cell.append(element("span", v, "badge " + (class_ === "hit" ? "good" : "neutral")));
      made.append(cell);
    });
    return made;
  }

  function enable() {
    button.disabled = !last || !last.ok || Boolean(last.unchanged && !force.checked);
  }

  function ask() {
    var mine = ++number;
    flywheel.send("POST", "/api/config/check", { config: text.value }).then(function (answer) {
      if (mine !== number) return;
      if (answer.ok) show(answer.body);
      else show({ ok: false, problem: Object.assign({ message: flywheel.problem(answer), cases: [] }, {}) });
    });
  }

  function later() {
    clearTimeout(timer);
    button.disabled = true;
    timer = setTimeout(ask, 350);
  }

  // The first `path:` below `data:` is the table.
  function setPath(value) {
    var found = /^(data:[ \t]*\n(?:[ \t]+.*\n|[ \t]*#.*\n)*?[ \t]+path:[ \t]*)(.*)$/m;
    if (found.test(text.value)) {
      text.value = text.value.replace(found, function (all, head) { return head + JSON.stringify(value); });
      later();
    }
  }

  // The dotted key of the line the cursor is on, by indentation.
  function keyAt(position) {
    var lines = text.value.slice(0, position).split("\n");
    var rest = text.value.slice(position).split("\n")[0];
    lines[lines.length - 1] += rest;
    var parts = [], indent = Infinity;
    for (var i = lines.length - 1; i >= 0; i--) {
      var match = /^(\s*)([A-Za-z_]\w*):/.exec(lines[i]);
      if (match && match[1].length < indent) {
        parts.unshift(match[2]);
        indent = match[1].length;
        if (!indent) break;
      }
    }
    return parts.join(".");
  }

  function showHelp() {
    var key = keyAt(text.selectionStart);
    while (key) {
      var found = document.querySelector("#key-list div[data-name='" + CSS.escape(key) + "'] dd");
      if (found) { help.textContent = key + ": " + found.textContent; return; }
      key = key.split(".").slice(0, -1).join(".");
    }
  }

  text.addEventListener("input", later);
  ["keyup", "click"].forEach(function (kind) { text.addEventListener(kind, showHelp); });
  path.addEventListener("input", function () { setPath(path.value); });
  force.addEventListener("change", enable);
  button.addEventListener("click", function () {
    flywheel.start({ config: text.value, force: force.checked }, button);
  });
  document.getElementById("key-search").addEventListener("input", function (event) {
    var wanted = event.target.value.toLowerCase();
    document.querySelectorAll("#key-list > div").forEach(function (entry) {
      entry.hidden = !entry.textContent.toLowerCase().includes(wanted);
    });
  });
  var upload = document.getElementById("upload");
  if (upload) upload.addEventListener("change", function () {
    var file = upload.files[0];
    if (!file) return;
    flywheel.notice("Uploading " + file.name + " …");
    flywheel.send("POST", "/api/uploads?name=" + encodeURIComponent(file.name), null, file)
      .then(function (answer) {
        if (!answer.ok) { flywheel.notice(flywheel.problem(answer), "bad"); return; }
        flywheel.notice("Uploaded, and set as the data of this run.", "good");
        path.value = answer.body.path;
        setPath(answer.body.path);
      });
  });
  ask();
  flywheel.send("POST", "/api/runs/prepare");
})();
