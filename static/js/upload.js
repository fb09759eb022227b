// Sends files and folders into a dataset, in pieces that survive a lost connection and a reload (tus).
"use strict";
{
  const form = document.getElementById("upload");
  const at = (name) => document.getElementById(`upload-${name}`);
  const PIECE = 5 * 1024 * 1024;
  const AT_ONCE = 3;
  // While the site is away: again and again. A piece that arrives begins the count anew.
  const RETRIES = [0, 1000, 3000, ...Array(200).fill(5000)];
  const headers = { "X-CSRFToken": form.elements.csrfmiddlewaretoken.value };
  const refusals = [];
  let waiting = [];
  let running = new Map();
  let total = { files: 0, bytes: 0 };
  let sent = { files: 0, bytes: 0 };
  let since = { time: 0, bytes: 0 };
  let isPaused = false;
  let isBusy = false;

  const size = (bytes) => {
    const power = Math.min(4, Math.floor(Math.log(Math.max(bytes, 1)) / Math.log(1024)));
    return `${(bytes / 1024 ** power).toFixed(power && bytes / 1024 ** power < 10 ? 1 : 0)} ${["bytes", "KB", "MB", "GB", "TB"][power]}`;
  };
  const time = (seconds) => {
    if (seconds < 90) return `${Math.ceil(seconds)} s`;
    return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  };
  const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

  const show = () => {
    const bytes = sent.bytes + [...running.values()].reduce((sum, each) => sum + each.bytes, 0);
    const seconds = (performance.now() - since.time) / 1000;
    const rate = (bytes - since.bytes) / Math.max(seconds, 0.5);
    const left = rate > 0 && seconds > 2 ? `, ${size(rate)}/s, ${time((total.bytes - bytes) / rate)} left` : "";
    at("bar").value = total.bytes ? bytes / total.bytes : 0;
    at("state").textContent = isPaused
      ? `Paused after ${count(sent.files, "file")} of ${total.files.toLocaleString("en")}.`
      : `${sent.files.toLocaleString("en")} of ${count(total.files, "file")}, ${size(bytes)} of ${size(total.bytes)}${left}`;
  };

  const complain = (path, reason) => {
    refusals.push(`${path}: ${reason}`);
    const list = document.createElement("ul");
    refusals.slice(0, 20).forEach((line) => list.appendChild(document.createElement("li")).append(line));
    if (refusals.length > 20) list.appendChild(document.createElement("li")).append(`and ${count(refusals.length - 20, "more file")}`);
    const title = document.createElement("p");
    title.append(`${count(refusals.length, "file")} could not be sent:`);
    at("error").replaceChildren(title, list);
    at("error").hidden = false;
  };

  const done = (entry) => {
    running.delete(entry.path);
    sent.files += 1;
    sent.bytes += entry.file.size;
    show();
    next();
  };

  const refuse = (entry, reason) => {
    running.delete(entry.path);
    total.files -= 1;
    total.bytes -= entry.file.size;
    complain(entry.path, reason);
    next();
  };

  const reasonOf = (error) => {
    const answer = error.originalResponse;
    if (!answer) return "the site did not answer.";
    const isPlain = (answer.getHeader("Content-Type") || "").startsWith("text/plain");
    return isPlain ? answer.getBody() : `the site answered with ${answer.getStatus()}.`;
  };

  const send = (entry) => {
    const upload = new tus.Upload(entry.file, {
      endpoint: form.dataset.files,
      uploadUrl: entry.address,
      chunkSize: PIECE,
      uploadDataDuringCreation: true,
      storeFingerprintForResuming: false,
      retryDelays: RETRIES,
      headers,
      metadata: { path: entry.path },
      onShouldRetry: (error) => {
        const status = error.originalResponse ? error.originalResponse.getStatus() : 0;
        return status === 0 || status === 409 || status === 423 || (status >= 500 && status !== 507);
      },
      onProgress: (bytes) => { running.get(entry.path).bytes = bytes; show(); },
      onSuccess: () => done(entry),
      onError: (error) => {
        // A first answer that was lost may have made the file: what is known decides, not the refusal of a second one.
        if (error.originalResponse?.getStatus() === 400 && !entry.address && !entry.isAsked) return askAgain(entry, error);
        refuse(entry, reasonOf(error));
      },
    });
    running.set(entry.path, { upload, bytes: 0 });
    upload.start();
  };

  // Asks until the site answers: it may be away for a moment here as well.
  const ask = async (address, options) => {
    for (;;) {
      try {
        const answer = await fetch(address, options);
        if (answer.status < 502) return answer;
      } catch { /* no connection */ }
      at("state").textContent = "The site does not answer. Trying again every 3 seconds …";
      await new Promise((resolve) => { setTimeout(resolve, 3000); });
    }
  };
  const known = async () => (await ask(form.dataset.known)).json();

  const askAgain = async (entry, error) => {
    const here = (await known())[entry.path];
    if (!here || here[1] !== entry.file.size) return refuse(entry, reasonOf(error));
    if (here[2] === here[1]) return done(entry);
    send({ ...entry, address: here[0], isAsked: true });
  };

  const next = () => {
    while (!isPaused && running.size < AT_ONCE && waiting.length) send(waiting.pop());
    if (!waiting.length && !running.size && isBusy && !isPaused) finish();
  };

  const finish = async () => {
    isBusy = false;
    if (!total.files) { at("progress").hidden = true; return; }
    if (refusals.length && !window.confirm(`${count(refusals.length, "file")} could not be sent. Import the other ${total.files.toLocaleString("en")}?`)) return;
    at("state").textContent = "Everything is here. Starting the import …";
    at("pause").hidden = true;
    const answer = await ask(form.dataset.finish, { method: "POST", headers });
    if (!answer.ok) {
      const isPlain = (answer.headers.get("Content-Type") || "").startsWith("text/plain");
      at("error").textContent = isPlain ? await answer.text() : `The site answered with ${answer.status}. Reload the page and choose the files again.`;
      at("error").hidden = false;
      return;
    }
    window.location.assign((await answer.json()).address);
  };

  const begin = async (chosen) => {
    if (!chosen.length) return;
    const bytes = chosen.reduce((sum, each) => sum + each.file.size, 0);
    if (bytes > Number(form.dataset.most)) {
      at("error").textContent = `These files have ${size(bytes)}; an upload has at most ${size(Number(form.dataset.most))}. Send them in parts.`;
      at("error").hidden = false;
      return;
    }
    at("drop").hidden = true;
    at("progress").hidden = false;
    at("resumed").hidden = true;
    total = { files: chosen.length, bytes };
    isBusy = true;
    const here = await known();
    for (const entry of chosen) {
      const [address, length, received] = here[entry.path] || [null, entry.file.size, 0];
      if (address && length === entry.file.size && received === length) {
        sent.files += 1;
        sent.bytes += entry.file.size;
      } else if (address && length !== entry.file.size) {
        total.files -= 1;
        total.bytes -= entry.file.size;
        complain(entry.path, "another file of this name was sent before. Discard that upload first, or rename this file.");
      } else {
        waiting.push({ ...entry, address });
      }
    }
    waiting.reverse();
    since = { time: performance.now(), bytes: sent.bytes };
    show();
    next();
  };

  // The theme of the administration would write the file's name into a field that there is not: it passes these over.
  form.querySelectorAll("input[type=file]").forEach((input) => { input.hasChangeListener = true; });
  const ofInput = (input) => [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
  at("choose-files").addEventListener("change", (event) => begin(ofInput(event.target)));
  at("choose-folder").addEventListener("change", (event) => begin(ofInput(event.target)));

  // A dropped folder tells its entries in portions.
  const entriesOf = async (folder) => {
    const reader = folder.createReader();
    const all = [];
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return all;
      all.push(...some);
    }
  };
  const filesOf = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      return [{ file, path: entry.fullPath.slice(1) }];
    }
    const found = [];
    for (const each of await entriesOf(entry)) found.push(...await filesOf(each));
    return found;
  };
  document.addEventListener("dragover", (event) => event.preventDefault());
  at("drop").addEventListener("dragenter", () => at("drop").classList.add("is-over"));
  at("drop").addEventListener("dragleave", () => at("drop").classList.remove("is-over"));
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    at("drop").classList.remove("is-over");
    if (isBusy) return;
    // The list is empty after the first wait.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const found = [];
    for (const entry of entries) found.push(...await filesOf(entry));
    begin(found);
  });

  at("pause").addEventListener("click", () => {
    isPaused = !isPaused;
    at("pause").textContent = isPaused ? "Go on" : "Pause";
    for (const each of running.values()) isPaused ? each.upload.abort() : each.upload.start();
    since = { time: performance.now(), bytes: sent.bytes };
    show();
    if (!isPaused) next();
  });
  at("discard").addEventListener("click", async () => {
    if (!window.confirm("Delete what was sent of this upload?")) return;
    await fetch(form.dataset.discard, { method: "POST", headers });
    window.location.reload();
  });
  window.addEventListener("beforeunload", (event) => { if (isBusy) event.preventDefault(); });
}
