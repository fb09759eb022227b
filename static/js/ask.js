// The ask page: drop, paste or choose an image; it is shown at once and sent with its progress.
"use strict";
{
  const form = document.getElementById("ask");
  const input = form.elements.image;
  const picture = document.getElementById("ask-picture");
  const fileName = document.getElementById("ask-file");
  const state = document.getElementById("ask-state");
  const said = document.getElementById("ask-said");
  const progress = document.getElementById("ask-progress");
  const error = document.getElementById("ask-error");
  // What a browser can show itself; TIFF and DICOM wait for the server.
  const SHOWN = ["image/png", "image/jpeg"];
  const RETRY_SECONDS = 5;
  let address = "";
  let timer = 0;

  const say = (words) => {
    state.textContent = words;
    if (said.textContent !== words) said.textContent = words;
  };

  const forget = () => {
    if (address) URL.revokeObjectURL(address);
    address = "";
    picture.removeAttribute("src");
    picture.hidden = true;
    form.classList.remove("is-busy", "is-over");
    progress.hidden = true;
  };

  // What is still on its way is not what the person waits for any more.
  const stop = () => htmx.trigger(form, "htmx:abort");

  const refuse = (text) => {
    stop();
    forget();
    input.value = "";
    error.textContent = text;
    error.hidden = false;
  };

  const show = (file) => {
    forget();
    error.hidden = true;
    form.classList.add("is-busy");
    fileName.textContent = file.name;
    say("Sending …");
    if (SHOWN.includes(file.type)) {
      address = URL.createObjectURL(file);
      picture.src = address;
      picture.hidden = false;
    }
  };

  const ask = () => {
    const file = input.files[0];
    if (!file) return;
    stop();
    if (file.size === 0) return refuse(form.dataset.empty);
    if (file.size > Number(form.dataset.maxBytes)) return refuse(form.dataset.tooLarge);
    clearTimeout(timer);
    show(file);
    form.requestSubmit();
  };

  const take = (files) => {
    if (files.length === 0) return refuse("That was no file. Drop an image file, or paste an image.");
    if (files.length > 1) return refuse("One image at a time: drop a single file.");
    const transfer = new DataTransfer();
    transfer.items.add(files[0]);
    input.files = transfer.files;
    ask();
  };

  input.addEventListener("change", ask);
  picture.addEventListener("error", () => { picture.hidden = true; });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) take(event.clipboardData.files);
  });
  // The whole page takes the drop: a near miss must not open the file in the browser.
  let depth = 0;
  document.addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth += 1;
    form.classList.add("is-over");
  });
  document.addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) form.classList.remove("is-over");
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    form.classList.remove("is-over");
    take(event.dataTransfer.files);
  });

  form.addEventListener("htmx:xhr:progress", (event) => {
    const { loaded, total } = event.detail;
    // A file that is sent at once needs no bar.
    if (!total || total < 1e6) return;
    progress.hidden = false;
    progress.max = total;
    progress.value = loaded;
    say(loaded < total ? "Sending …" : "Searching …");
    if (loaded < total) state.textContent += ` ${Math.floor((100 * loaded) / total)} %`;
  });
  form.addEventListener("htmx:beforeRequest", () => say("Searching …"));
  // The site is away for a moment: the image stays here and is sent again.
  const wait = (why) => {
    progress.hidden = true;
    say(`${why} Your image is kept on this page and is sent again every ${RETRY_SECONDS} seconds.`);
    clearTimeout(timer);
    timer = setTimeout(sendAgain, 1000 * RETRY_SECONDS);
  };
  const sendAgain = async () => {
    const file = input.files[0];
    if (!file) return;
    try {
      // The answer that the session has ended is lost where a large image is still on its way.
      const page = await fetch(window.location.href, { method: "HEAD", signal: AbortSignal.timeout(5000) });
      if (page.redirected) return window.location.reload();
    } catch { /* Still away. */ }
    // Another one, chosen meanwhile, has been sent by itself.
    if (input.files[0] === file) form.requestSubmit();
  };
  form.addEventListener("htmx:responseError", (event) => {
    const { xhr } = event.detail;
    if (xhr.status === 507) return wait("The disk of the site is full: an administrator has to free some space.");
    if (xhr.status >= 502) return wait("The site or its database does not answer.");
    const isPlain = xhr.getResponseHeader("Content-Type")?.startsWith("text/plain");
    refuse(isPlain ? xhr.responseText : `The site could not take the image (${xhr.status}). Reload the page and try again.`);
  });
  form.addEventListener("htmx:sendError", () => wait("The site does not answer."));
  // Coming back with the browser's Back button finds a fresh page.
  window.addEventListener("pageshow", () => {
    forget();
    input.value = "";
  });
}
