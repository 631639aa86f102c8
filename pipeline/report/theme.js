// The theme follows the system until someone presses the button.
(function () {
  "use strict";
  var dark = document.getElementById("dark");
  var button = document.getElementById("theme");
  var system = window.matchMedia("(prefers-color-scheme: dark)");
  var key = "flywheel-theme";
  var chosen = null;
  try { chosen = localStorage.getItem(key); } catch (error) { /* not allowed from files */ }

  function isDark() {
    return chosen ? chosen === "dark" : system.matches;
  }

  function show() {
    dark.media = isDark() ? "screen" : "not all";
    button.textContent = isDark() ? "Light theme" : "Dark theme";
  }

  button.addEventListener("click", function () {
    chosen = isDark() ? "light" : "dark";
    try { localStorage.setItem(key, chosen); } catch (error) { /* not allowed from files */ }
    show();
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
})();
