// Only the lines of the log that hold a text.
(function () {
  "use strict";
  var log = document.getElementById("log");
  var search = document.getElementById("log-search");
  if (!log || !search) return;
  var lines = log.textContent.split("\n");
  search.addEventListener("input", function () {
    var wanted = search.value.toLowerCase();
    log.textContent = lines.filter(function (line) { return line.toLowerCase().includes(wanted); }).join("\n");
  });
  log.scrollTop = log.scrollHeight;
})();
