// Ticking images of the findings: how many are, and all at once.
"use strict";
{
  const form = document.getElementById("decide");
  const all = document.getElementById("tick-all");
  const said = document.getElementById("ticked");
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
    // The browser may remember boxes over a reload.
    window.addEventListener("pageshow", tell);
  }
}
