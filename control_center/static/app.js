// What every page does: changes with the page's token, relative times, keys.
(function () {
  "use strict";
  var csrf = document.querySelector("meta[name=csrf]").content;

  function notice(text, tone) {
    var box = document.getElementById("notice");
    box.textContent = text;
    box.className = "notice " + (tone || "");
    box.hidden = !text;
    if (text) box.scrollIntoView({ block: "nearest" });
  }

  // Answers {status, body}; never throws: what went wrong is in body.error.
  function send(method, url, body, raw) {
    var headers = { "X-CSRF-Token": csrf, Accept: "application/json" };
    if (!raw) headers["Content-Type"] = "application/json";
    return fetch(url, {
      method: method,
      headers: headers,
      body: raw || (body === undefined ? undefined : JSON.stringify(body)),
    }).then(function (answer) {
      return answer.json().catch(function () { return {}; }).then(function (found) {
        return { ok: answer.ok, status: answer.status, body: found };
      });
    }).catch(function () {
      var error = { message: "The control center does not answer.", next: "Is it still running?" };
      return { ok: false, status: 0, body: { error: error } };
    });
  }

  function problem(answer) {
    var error = answer.body.error || { message: "Refused (" + answer.status + ")." };
    return [error.message, error.next].filter(Boolean).join(" ");
  }

  function ask(text) {
    var dialog = document.getElementById("confirm");
    document.getElementById("confirm-title").textContent = "Are you sure?";
    document.getElementById("confirm-text").textContent = text;
    dialog.returnValue = "no";
    dialog.showModal();
    return new Promise(function (resolve) {
      dialog.addEventListener("close", function () {
        resolve(dialog.returnValue === "yes");
      }, { once: true });
    });
  }

  // Starts a run; when another is at work, says which and links to it.
  function start(request, button) {
    if (button) button.disabled = true;
    notice("Starting …");
    return send("POST", "/api/runs", request).then(function (answer) {
      if (answer.ok) {
        location.href = "/runs/" + encodeURIComponent(answer.body.run_id);
        return;
      }
      if (button) button.disabled = false;
      notice(problem(answer), "bad");
      var cases = (answer.body.error || {}).cases || [];
      if (cases[0] && cases[0].run_id) {
        var link = document.createElement("a");
        link.href = "/runs/" + encodeURIComponent(cases[0].run_id);
        link.textContent = " Open run " + cases[0].run_id;
        document.getElementById("notice").appendChild(link);
      }
    });
  }

  function describe(body) {
    if (body.check) return "Deployed " + body.version + " (was " + body.previous + "). " + describe(body.check);
    if (body.requests !== undefined) {
      return body.version + ": " + body.files + " files unchanged, " + body.requests +
        " golden requests answered as recorded (largest difference " +
        Number(body.largest_difference).toExponential(1) + ").";
    }
    return body.message || "Done.";
  }

  document.addEventListener("click", function (event) {
    var button = event.target.closest("button[data-post], button[data-resume], button[data-demo], button[data-start]");
    if (!button || button.disabled) return;
    if (button.dataset.resume) { start({ resumes: button.dataset.resume }, button); return; }
    if ("start" in button.dataset) { start({}, button); return; }
    if (button.dataset.demo) {
      button.disabled = true;
      notice("Looking at the data …");
      send("POST", "/api/config/demo", { name: button.dataset.demo }).then(function (answer) {
        if (answer.ok) return start({}, button);
        button.disabled = false;
        notice(problem(answer), "bad");
      });
      return;
    }
    var text = button.dataset.confirm;
    (text ? ask(text) : Promise.resolve(true)).then(function (yes) {
      if (!yes) return;
      button.disabled = true;
      notice("Working …");
      var body = button.dataset.body ? JSON.parse(button.dataset.body) : undefined;
      var field = button.dataset.field && document.getElementById(button.dataset.field);
      if (field) { body = body || {}; body[field.name] = field.value; }
      send(button.dataset.method || "POST", button.dataset.post, body).then(function (answer) {
        button.disabled = false;
        notice(answer.ok ? describe(answer.body) : problem(answer), answer.ok ? "good" : "bad");
        if (answer.ok && button.dataset.then === "look") { notice(""); window.flywheel.look(); }
        if (answer.ok && button.dataset.then === "reload") {
          sessionStorage.setItem("notice", describe(answer.body));
          location.reload();
        }
      });
    });
  });
  var said = sessionStorage.getItem("notice");
  if (said) { sessionStorage.removeItem("notice"); notice(said, "good"); }

  // Relative times stay true; the exact one is the title.
  var units = [[90, 1, "s"], [5400, 60, "min"], [129600, 3600, "h"], [5184000, 86400, "days"],
    [63072000, 2629800, "months"], [Infinity, 31557600, "years"]];
  function relative(seconds) {
    var size = Math.abs(seconds);
    if (size < 10) return "just now";
    for (var i = 0; i < units.length; i++) {
      if (size < units[i][0]) {
        var text = Math.round(size / units[i][1]) + "\u00a0" + units[i][2];
        return seconds > 0 ? text + " ago" : "in " + text;
      }
    }
  }
  setInterval(function () {
    document.querySelectorAll("time[datetime]").forEach(function (element) {
      element.textContent = relative((Date.now() - Date.parse(element.dateTime)) / 1000);
    });
  }, 15000);

  // Keys: g and a letter goes to a page, t turns the theme, ? lists them.
  var going = 0;
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, dialog")) return;
    if (going && Date.now() - going < 1500) {
      going = 0;
      var link = document.querySelector("nav a[data-key='" + CSS.escape(event.key) + "']");
      if (link) { event.preventDefault(); location.href = link.href; }
      return;
    }
    if (event.key === "g") going = Date.now();
    else if (event.key === "t") document.getElementById("theme").click();
    else if (event.key === "?") document.getElementById("keys").showModal();
  });

  var choose = document.getElementById("choose");
  if (choose) choose.addEventListener("submit", function (event) {
    var count = choose.querySelectorAll("input:checked").length;
    if (count < 2 || count > 5) {
      event.preventDefault();
      notice("Mark two to five runs first.", "bad");
    }
  });

  window.flywheel = { send: send, notice: notice, problem: problem, start: start };
})();
