// Starts and stops jobs; the page's parts show how they stand. Older logs come when they are opened.
(function () {
  "use strict";
  document.addEventListener("click", function (event) {
    var button = event.target.closest("button[data-job], button[data-stop]");
    if (!button || button.disabled) return;
    button.disabled = true;
    var stop = button.dataset.stop;
    (stop
      ? flywheel.send("POST", "/api/jobs/" + encodeURIComponent(stop) + "/stop")
      : flywheel.send("POST", "/api/jobs", { name: button.dataset.job })
    ).then(function (answer) {
      flywheel.notice(answer.ok ? "" : flywheel.problem(answer), "bad");
      button.disabled = false;
      flywheel.look();
    });
  });

  function load(box) {
    var log = box.querySelector("pre.log[data-later]");
    if (!box.open || !log) return;
    flywheel.send("GET", "/api/jobs/" + encodeURIComponent(box.dataset.id)).then(function (answer) {
      if (!answer.ok) return;
      log.textContent = answer.body.log || "It said nothing.";
      log.removeAttribute("data-later");
      log.scrollTop = log.scrollHeight;
    });
  }

  document.addEventListener("toggle", function (event) {
    if (event.target.matches && event.target.matches("details.job")) load(event.target);
  }, true);
  document.addEventListener("part", function (event) {
    event.target.querySelectorAll("details.job").forEach(load);
  });
})();
