// Parts of a page that move: while the server says so (data-poll), the page is asked for again and
// parts that changed are put in place; what is open stays open, what has the focus keeps it.
(function () {
  "use strict";
  var timer = null;

  function key(element) {
    return element.id || element.dataset.job || element.dataset.stop || element.dataset.post ||
      (element.closest("details[data-id]") || { dataset: {} }).dataset.id || "";
  }

  function replace(old, fresh) {
    var open = {}, ends = {};
    old.querySelectorAll("details[data-id]").forEach(function (box) { open[box.dataset.id] = box.open; });
    old.querySelectorAll("pre.log[data-id]").forEach(function (log) {
      ends[log.dataset.id] = log.scrollTop + log.clientHeight > log.scrollHeight - 40 ? Infinity : log.scrollTop;
    });
    var active = old.contains(document.activeElement) ? document.activeElement : null;
    var focus = active && { key: key(active), tag: active.tagName };
    fresh = document.importNode(fresh, true);
    fresh.querySelectorAll("details[data-id]").forEach(function (box) {
      if (box.dataset.id in open) box.open = open[box.dataset.id];
    });
    old.replaceWith(fresh);
    fresh.querySelectorAll("pre.log[data-id]").forEach(function (log) {
      var end = ends[log.dataset.id];
      log.scrollTop = end === undefined || end === Infinity ? log.scrollHeight : end;
    });
    if (focus) Array.from(fresh.querySelectorAll(focus.tag)).some(function (element) {
      if (key(element) !== focus.key) return false;
      element.focus({ preventScroll: true });
      return true;
    });
    fresh.dispatchEvent(new CustomEvent("part", { bubbles: true }));
  }

  function seconds() {
    var found = Array.from(document.querySelectorAll("[data-poll]")).map(function (part) {
      return Number(part.dataset.poll);
    }).filter(Boolean);
    return found.length ? Math.min.apply(null, found) : 0;
  }

  function later() {
    clearTimeout(timer);
    var wait = seconds();
    if (wait) timer = setTimeout(look, wait * 1000);
  }

  // Answers when the page is as the server has it.
  function look() {
    return fetch(location.href, { headers: { Accept: "text/html" } }).then(function (answer) {
      if (!answer.ok) throw new Error(String(answer.status));
      return answer.text();
    }).then(function (text) {
      var page = new DOMParser().parseFromString(text, "text/html");
      document.querySelectorAll("[data-part]").forEach(function (old) {
        var fresh = page.querySelector("[data-part='" + CSS.escape(old.dataset.part) + "']");
        if (fresh && fresh.outerHTML !== old.dataset.html) {
          fresh.dataset.html = fresh.outerHTML;
          replace(old, fresh);
        }
      });
    }).catch(function () { /* the next look may find it */ }).then(later);
  }

  window.flywheel.look = look;
  document.querySelectorAll("pre.log[data-id]").forEach(function (log) { log.scrollTop = log.scrollHeight; });
  later();
})();
