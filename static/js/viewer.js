// The stack viewer of a series page: one picture; slider, keys and wheel walk through its slices.
"use strict";
{
  const viewer = document.getElementById("viewer");
  const heading = document.querySelector("h1");
  const picture = viewer.querySelector("img");
  const slider = viewer.querySelector("input");
  const position = viewer.querySelector("output");
  const failure = viewer.querySelector("[role=alert]");
  const links = { prev: viewer.querySelector("a[rel=prev]"), next: viewer.querySelector("a[rel=next]") };
  const imageLink = document.getElementById("viewer-image");
  const similar = document.getElementById("viewer-similar");
  const slices = [...document.querySelectorAll(".slices a")];
  // Ahead in the direction of the walk, and behind it for a look back.
  const AHEAD = 4;
  const BEHIND = 2;
  // Of a turn of the wheel; touch pads send many small ones.
  const WHEEL_PIXELS = 50;
  const WHEEL_LINE = 20;
  const KEYS = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10 };
  const loaded = new Map();
  let shown = Number(slider.value) - 1;
  let wanted = shown;
  let isWalking = false;
  let turned = 0;
  let addressTimer = 0;

  const preview = (index) => `${slices[index].dataset.image}preview.png`;

  const load = (index) => {
    if (!loaded.has(index)) {
      const image = new Image();
      image.src = preview(index);
      loaded.set(index, image);
    }
    return loaded.get(index);
  };

  const loadAround = (index, direction) => {
    for (const known of loaded.keys()) if (Math.abs(known - index) > AHEAD) loaded.delete(known);
    for (let step = -BEHIND; step <= AHEAD; step += 1) {
      const near = index + step * direction;
      if (near >= 0 && near < slices.length) load(near);
    }
  };

  const link = (anchor, index) => {
    if (index in slices) anchor.href = slices[index].href;
    else anchor.removeAttribute("href");
  };

  // Picture and words change together: what is said is what is seen.
  const show = (index) => {
    slices[shown].removeAttribute("aria-current");
    shown = index;
    const { href, dataset } = slices[index];
    slices[index].setAttribute("aria-current", "true");
    picture.src = preview(index);
    position.textContent = `${index + 1} of ${slices.length}`;
    heading.textContent = dataset.label;
    document.title = `${dataset.label} · ${viewer.dataset.site}`;
    picture.alt = `${dataset.label}, ${viewer.dataset.part} ${position.textContent}`;
    link(links.prev, index - 1);
    link(links.next, index + 1);
    imageLink.href = dataset.image;
    if (similar) similar.action = `${dataset.image}similar/`;
    // A reload, or the way back to this page, opens the slice that was looked at.
    clearTimeout(addressTimer);
    addressTimer = setTimeout(() => history.replaceState(history.state, "", href), 300);
  };

  // One picture is waited for at a time: whoever walks faster than they come sees as many of them as can come.
  const walk = async () => {
    isWalking = true;
    while (shown !== wanted) {
      const next = wanted;
      const direction = Math.sign(next - shown);
      try {
        await load(next).decode();
      } catch {
        loaded.delete(next);
        wanted = shown;
        slider.value = shown + 1;
        failure.hidden = false;
        break;
      }
      failure.hidden = true;
      show(next);
      loadAround(next, direction);
    }
    isWalking = false;
  };

  const go = (index) => {
    wanted = Math.min(Math.max(index, 0), slices.length - 1);
    slider.value = wanted + 1;
    if (!isWalking) walk();
  };

  // A new tab or window is the browser's business.
  const isPlain = (event) => !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);

  const onClick = (anchor, act) =>
    anchor.addEventListener("click", (event) => {
      if (!isPlain(event)) return;
      event.preventDefault();
      act();
    });

  onClick(links.prev, () => go(wanted - 1));
  onClick(links.next, () => go(wanted + 1));
  slices.forEach((slice, index) =>
    onClick(slice, () => {
      go(index);
      viewer.scrollIntoView({ block: "nearest" });
      slider.focus({ preventScroll: true });
    }),
  );
  slider.addEventListener("input", () => go(Number(slider.value) - 1));
  // Downwards is onwards, as with the wheel; by itself a slider's value rises upwards.
  slider.addEventListener("keydown", (event) => {
    const step = KEYS[event.key];
    if (!step || !isPlain(event)) return;
    event.preventDefault();
    go(wanted + step);
  });
  picture.addEventListener("click", () => slider.focus());
  picture.parentElement.addEventListener(
    "wheel",
    (event) => {
      if (!isPlain(event)) return;
      event.preventDefault();
      const pixels = event.deltaMode ? event.deltaY * WHEEL_LINE : event.deltaY;
      if (Math.sign(pixels) !== Math.sign(turned)) turned = 0;
      turned += Math.min(Math.max(pixels, -WHEEL_PIXELS), WHEEL_PIXELS);
      if (Math.abs(turned) < WHEEL_PIXELS) return;
      go(wanted + Math.sign(turned));
      turned = 0;
    },
    { passive: false },
  );

  slider.hidden = false;
  document.querySelector(".viewer-help").hidden = false;
  loadAround(shown, 1);
}
