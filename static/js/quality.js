// Ticking images of the findings: how many are, all at once, and that nothing takes the ticks away.
"use strict";
{
  const form = document.getElementById("decide");
  const all = document.getElementById("tick-all");
  const said = document.getElementById("ticked");
  const label = form?.elements.label;
  const boxes = form ? [...form.querySelectorAll("input[type=checkbox]")] : [];

  const tell = () => {
    const count = boxes.filter((box) => box.checked).length;
    said.textContent = count ? `${count} selected` : "";
    all.textContent = count === boxes.length ? "Select none" : "Select all on this page";
  };

  if (form) {
    all.hidden = false;
    all.addEventListener("click", () => {
      const wanted = boxes.some((box) => !box.checked);
      for (const box of boxes) box.checked = wanted;
      tell();
    });
    form.addEventListener("change", tell);
    // Told here: the answer of the site would come without the ticks. Other buttons want no label.
    form.addEventListener("click", ({ target }) => {
      const isMissing = target.value === "relabel" && !label.value.trim();
      label.setCustomValidity(isMissing ? "Type the label that the ticked images shall have." : "");
    });
    // The end of a check reads the page anew, but not under the hands of somebody who is choosing.
    document.addEventListener("htmx:beforeOnLoad", (event) => {
      const isChoosing = label.value.trim() || boxes.some((box) => box.checked);
      if (!isChoosing || !event.detail.xhr.getResponseHeader("HX-Refresh")) return;
      event.preventDefault();
      document.getElementById("quality-state").hidden = true;
      document.getElementById("check-over").hidden = false;
    });
    // The browser may remember boxes over a reload.
    window.addEventListener("pageshow", tell);
  }
}
