// The administration's theme keeps the choice of dark and light under a name of its own: one switch for the whole site.
"use strict";
{
  // It would write a style sheet into the page, which the Content-Security-Policy refuses.
  htmx.config.includeIndicatorStyles = false;

  const read = () => JSON.parse(localStorage.getItem("adminTheme") || '"auto"');
  const ours = { auto: "system", dark: "dark", light: "light" };
  const theirs = { dark: "dark", light: "light" };
  localStorage.setItem("adminTheme", JSON.stringify(theirs[localStorage.getItem("theme")] || "auto"));
  let last = read();

  // The theme writes what was chosen in the next turn.
  const follow = () => setTimeout(() => {
    if (read() === last) return;
    last = read();
    localStorage.setItem("theme", ours[last]);
    if (last === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = last;
  });
  document.addEventListener("click", follow);
  document.addEventListener("keydown", follow);

  // The theme looks at the system's choice only once.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => {
    if (read() === "auto") document.documentElement.classList.toggle("dark", event.matches);
  });

  // What the theme makes a switch of is to be reached by the keyboard too.
  const SWITCHES = "a[x-on\\:click]:not([href]), span[x-on\\:click], div[x-on\\:click].cursor-pointer, h2[x-on\\:click]";
  // Icons are words in a font of pictures, "database", which are not to be read out. What has nothing else needs a name.
  const NAMES = { check_small: "yes", close_small: "no", dock_to_right: "Menu", more_horiz: "More actions" };
  const nameIcon = (icon) => {
    const word = icon.textContent.trim();
    const control = icon.closest("a, button, [role=button]");
    const alone = control && !control.title && control.textContent.trim() === word;
    if (alone) control.setAttribute("aria-label", NAMES[word] || word.replaceAll("_", " "));
    else if (NAMES[word]) Object.assign(icon, { role: "img", ariaLabel: NAMES[word] });
    if (control !== icon && icon.role !== "img") icon.ariaHidden = "true";
  };
  document.addEventListener("DOMContentLoaded", () => {
    // Landmarks for a screen reader, before the menu's scrolling area is made.
    document.getElementById("main")?.setAttribute("role", "main");
    document.querySelector("#nav-sidebar-apps")?.setAttribute("data-simplebar-aria-label", "menu");
    document.querySelectorAll(SWITCHES).forEach((each) => {
      each.tabIndex = 0;
      each.setAttribute("role", "button");
    });
    document.querySelectorAll(".material-symbols-outlined").forEach(nameIcon);
  });
  document.addEventListener("keydown", (event) => {
    if (!["Enter", " "].includes(event.key) || !event.target.matches(SWITCHES)) return;
    event.preventDefault();
    event.target.click();
  });
}
