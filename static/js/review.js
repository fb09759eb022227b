// The review page by keyboard: one image is the current one, and letters decide about it.
"use strict";
{
  const form = document.getElementById("review");
  const cards = form ? [...form.querySelectorAll(".review-card")] : [];
  const tick = (card) => card.querySelector("input[type=checkbox]");
  let current = Math.max(0, cards.findIndex((card) => `#${card.id}` === location.hash));

  const go = (index) => {
    if (!cards[index]) return;
    current = index;
    cards[index].focus({ preventScroll: true });
    cards[index].scrollIntoView({ block: "nearest" });
  };
  const countTicked = () => {
    const ticked = cards.filter((card) => tick(card).checked).length;
    document.getElementById("release-ticked").disabled = ticked === 0;
    document.getElementById("exclude-ticked").disabled = ticked === 0;
    document.getElementById("tick-all").textContent =
      ticked === cards.length ? "Untick all on this page" : "Tick all on this page";
  };
  const isInView = (card) => {
    const { top, bottom } = card.getBoundingClientRect();
    const middle = (top + bottom) / 2;
    return middle > 0 && middle < window.innerHeight;
  };
  // A letter decides about what is looked at and has the focus. Otherwise it leads to what is looked at, and no more.
  const decide = (act) => {
    const seen = [current, ...cards.keys()].find((index) => isInView(cards[index]));
    if (seen === current && cards[current].contains(document.activeElement)) act(cards[current]);
    else go(seen ?? current);
  };
  const keys = {
    j: () => go(current + 1),
    k: () => go(current - 1),
    r: () => decide((card) => card.querySelector("button[name=release]").click()),
    x: () => decide((card) => card.querySelector("button[name=exclude]").click()),
    t: () => decide((card) => tick(card).click()),
  };

  if (form) {
    document.getElementById("tick-all").hidden = document.getElementById("keys").hidden = false;
    document.getElementById("tick-all").addEventListener("click", () => {
      const all = cards.some((card) => !tick(card).checked);
      cards.forEach((card) => { tick(card).checked = all; });
      countTicked();
    });
    form.addEventListener("change", countTicked);
    form.addEventListener("focusin", (event) => {
      const index = cards.indexOf(event.target.closest(".review-card"));
      if (index >= 0) current = index;
    });
    // A second press while the first is on its way would decide about an image that nobody has looked at.
    let isSent = false;
    form.addEventListener("submit", (event) => {
      if (isSent) {
        event.preventDefault();
        return;
      }
      isSent = true;
      const { value } = event.submitter;
      const left = cards.filter((card) => (value ? card.dataset.uuid !== value : !tick(card).checked));
      const following = left.find((card) => cards.indexOf(card) > current) ?? left.at(-1);
      document.getElementById("next").value = following?.dataset.uuid ?? "";
    });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
      if (event.target.closest("select, input:not([type=checkbox]), textarea")) return;
      const act = keys[event.key.toLowerCase()];
      if (!act) return;
      event.preventDefault();
      act();
    });
    addEventListener("pageshow", () => { isSent = false; countTicked(); });
    if (cards.some((card) => `#${card.id}` === location.hash)) go(current);
  }
}
