// Starts jobs and follows those that run.
(function () {
  "use strict";
  document.addEventListener("click", function (event) {
    var button = event.target.closest("button[data-job]");
    if (!button || button.disabled) return;
    button.disabled = true;
    flywheel.send("POST", "/api/jobs", { name: button.dataset.job }).then(function (answer) {
      if (answer.ok) { location.reload(); return; }
      button.disabled = false;
      flywheel.notice(flywheel.problem(answer), "bad");
    });
  });

  function show(box) {
    return flywheel.send("GET", "/api/jobs/" + box.dataset.id).then(function (answer) {
      if (!answer.ok) return;
      var log = box.querySelector("pre");
      log.textContent = answer.body.log || "It has said nothing yet.";
      log.scrollTop = log.scrollHeight;
      return answer.body;
    });
  }

  function follow(box) {
    show(box).then(function (job) {
      if (job && job.running) setTimeout(function () { follow(box); }, 1000);
      else if (job) location.reload();
    });
  }

  document.querySelectorAll("details.job").forEach(function (box) {
    if (box.hasAttribute("data-running")) follow(box);
    else if (box.open) show(box);
    box.addEventListener("toggle", function () {
      if (box.open && !box.hasAttribute("data-running")) show(box);
    });
  });
})();
