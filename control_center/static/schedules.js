// Adds a schedule.
(function () {
  "use strict";
  document.getElementById("new-schedule").addEventListener("submit", function (event) {
    event.preventDefault();
    var wish = { cron: document.getElementById("cron").value, what: document.getElementById("what").value };
    flywheel.send("POST", "/api/schedules", wish).then(function (answer) {
      if (answer.ok) location.reload();
      else flywheel.notice(flywheel.problem(answer), "bad");
    });
  });
})();
