// Before the first paint: the theme that was chosen, so that nothing flashes.
(function () {
  "use strict";
  try {
    var chosen = localStorage.getItem("flywheel-theme");
    if (chosen) document.getElementById("dark").media = chosen === "dark" ? "screen" : "not all";
  } catch (error) { /* storage is off */ }
})();
