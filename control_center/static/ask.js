// Asks the deployed file for one prediction.
(function () {
  "use strict";
  var form = document.getElementById("ask-form");
  var answer = document.getElementById("answer");

  function add(parent, name, text) {
    var made = document.createElement(name);
    made.textContent = text;
    parent.append(made);
    return made;
  }

  form.addEventListener("submit", function (event) {
    event.preventDefault();
    var row = {}, button = form.querySelector("button");
    form.querySelectorAll("[data-feature]").forEach(function (field) {
      row[field.dataset.feature] = field.value;
    });
    button.disabled = true;
    answer.textContent = "Asking …";
    flywheel.send("POST", form.dataset.url, { row: row }).then(function (found) {
      button.disabled = false;
      answer.replaceChildren();
      if (!found.ok) { add(answer, "p", flywheel.problem(found)).className = "problem"; return; }
      var said = add(answer, "p", form.dataset.label + ": ");
      add(said, "strong", found.body.prediction);
      add(said, "span", " " + found.body.latency_us.toFixed(0) + "\u00a0µs from the row to the answer").className = "faint";
      if (form.dataset.task === "regression") return;
      var list = add(answer, "dl", "");
      list.className = "scores";
      Object.keys(found.body.scores).forEach(function (name) {
        var line = add(list, "div", "");
        add(line, "dt", name);
        var value = add(line, "dd", "");
        var meter = add(value, "meter", "");
        meter.max = 1;
        meter.value = found.body.scores[name];
        meter.setAttribute("aria-label", name);
        add(value, "span", " " + (100 * found.body.scores[name]).toFixed(1) + "\u00a0%");
      });
    });
  });
})();
