// Runs before the first paint, so that a dark room sees no white flash.
"use strict";
{
  const NAMES = ["system", "dark", "light"];
  const stored = () => {
    const name = localStorage.getItem("theme");
    return NAMES.includes(name) ? name : "system";
  };
  const apply = (name) => {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
  };
  apply(stored());
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    if (!button) return;
    const label = document.getElementById("theme-name");
    label.textContent = stored();
    button.hidden = false;
    button.addEventListener("click", () => {
      const name = NAMES[(NAMES.indexOf(stored()) + 1) % NAMES.length];
      localStorage.setItem("theme", name);
      apply(name);
      label.textContent = name;
    });
  });
}
