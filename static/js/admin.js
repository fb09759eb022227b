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

  // What the theme makes a switch of is to be reached by the keyboard too.
  const SWITCHES = "a[x-on\\:click]:not([href]), span[x-on\\:click], div[x-on\\:click].cursor-pointer, h2[x-on\\:click]";
  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(SWITCHES).forEach((each) => {
      each.tabIndex = 0;
      each.setAttribute("role", "button");
    });
  });
  document.addEventListener("keydown", (event) => {
    if (!["Enter", " "].includes(event.key) || !event.target.matches(SWITCHES)) return;
    event.preventDefault();
    event.target.click();
  });
}
