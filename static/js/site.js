// Small things that every page may use.
"use strict";
{
  // A select inside form[data-submit-on-change] sends its form. Arrow keys pass through choices that nobody wants, so
  // that with the keyboard the form's button, which is hidden until then, sends it.
  let byKeyboard = false;
  document.addEventListener("keydown", (event) => (byKeyboard ||= event.target.matches("select")), true);
  document.addEventListener("pointerdown", () => (byKeyboard = false), true);
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-submit-on-change]");
    if (!form) return;
    if (!byKeyboard) return form.requestSubmit();
    const button = form.querySelector("button");
    button.hidden = false;
    form.querySelector("[role=status]").textContent = `Not sent yet: press ${button.textContent}.`;
  });

  // The left and right arrow keys follow the links of nav[data-arrow-keys], but where they are typed into something.
  document.addEventListener("keydown", (event) => {
    const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
    const isOther = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
    if (!rel || isOther || event.target.closest("input, select, textarea")) return;
    document.querySelector(`[data-arrow-keys] a[rel=${rel}]`)?.click();
  });

  // Back to an answer: its selects say again what the answer is narrowed to.
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    byKeyboard = false;
    document.querySelectorAll("form[data-submit-on-change]").forEach((form) => {
      form.reset();
      form.querySelector("button").hidden = true;
      form.querySelector("[role=status]").textContent = "";
    });
  });

  // What waits says why in [data-said]. It comes anew with every poll, and is read out when it is news.
  document.addEventListener("htmx:afterSettle", () => {
    const place = document.getElementById("said");
    const words = document.querySelector("[data-said]")?.textContent.trim() ?? "";
    if (place && place.textContent !== words) place.textContent = words;
  });

  // What comes anew stays scrolled sideways as it was.
  const tables = () => [...document.querySelectorAll(".table-scroll")];
  let scrolled = [];
  document.addEventListener("htmx:beforeSwap", () => { scrolled = tables().map((table) => table.scrollLeft); });
  document.addEventListener("htmx:afterSwap", () => {
    tables().forEach((table, index) => { table.scrollLeft = scrolled[index] ?? 0; });
  });

  // A reader who waits hears that the page could not go on by itself.
  const say = (text) => {
    const place = document.getElementById("connection");
    if (!place) return;
    place.textContent = text;
    place.hidden = !text;
  };
  const sayAway = () => say("The site does not answer. What was stored is kept; this page tries again by itself.");
  document.addEventListener("htmx:sendError", sayAway);
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status >= 500) sayAway();
  });
  // Comes after every answer, also after one that reports an error.
  document.addEventListener("htmx:afterOnLoad", (event) => {
    const { xhr } = event.detail;
    if (xhr.status < 500) say("");
    // The session has ended: the answer is the login page, which belongs into the window and not into a part of it.
    if (xhr.responseURL && new URL(xhr.responseURL).pathname === document.body.dataset.login) location.reload();
  });
}
