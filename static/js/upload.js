// Sends chosen files into a dataset, in pieces that survive a lost connection and a reload (tus).
"use strict";
{
  const form = document.getElementById("upload");
  const at = (name) => document.getElementById(`upload-${name}`);
  const PIECE = 5 * 1024 * 1024;
  const AT_ONCE = 3;
  // While the site is away: again and again, over a weekend too. A piece that arrives begins the count anew.
  const RETRIES = [0, 1000, 3000, ...Array(100000).fill(5000)];
  const FAULTS = 10;
  const SILENCE_SECONDS = 30;
  const LOOK_AGAIN = 3000;
  const MOST_SELDOM = 60000;
  // Path: why it could not be sent.
  const refusals = new Map();
  let chosen = [];
  let unread = [];
  let waiting = [];
  let running = new Map();
  let total = { files: 0, bytes: 0 };
  let sent = { files: 0, bytes: 0 };
  let since = { time: 0, bytes: 0 };
  let moved = 0;
  let round = 0;
  let settling = null;
  let isPaused = false;
  let isBusy = false;
  let isAway = false;

  // Read anew each time: whoever logs in again in another tab has another one.
  const token = () => document.cookie.match(/(?:^|; )csrftoken=([^;]*)/)?.[1] || "";
  const size = (bytes) => {
    const power = Math.min(4, Math.floor(Math.log(Math.max(bytes, 1)) / Math.log(1024)));
    return `${(bytes / 1024 ** power).toFixed(power && bytes / 1024 ** power < 10 ? 1 : 0)} ${["bytes", "KB", "MB", "GB", "TB"][power]}`;
  };
  const time = (seconds) => {
    if (seconds < 90) return `${Math.ceil(seconds)} s`;
    return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  };
  const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;

  const link = (address, text) => Object.assign(document.createElement("a"), { href: address, textContent: text });

  const bytesSent = () => sent.bytes + [...running.values()].reduce((sum, each) => sum + each.bytes, 0);
  const startClock = () => { moved = performance.now(); since = { time: moved, bytes: bytesSent() }; };
  const away = () => (navigator.onLine ? "The site does not answer: waiting for it …" : "The connection is gone: waiting for it …");

  const pace = (bytes) => {
    const now = performance.now();
    const silence = (now - moved) / 1000;
    if (isAway) return `. ${away()}`;
    if (silence > SILENCE_SECONDS) return `. Nothing has got through for ${time(silence)}.`;
    const seconds = (now - since.time) / 1000;
    const rate = (bytes - since.bytes) / Math.max(seconds, 0.5);
    return rate > 0 && seconds > 2 ? `, ${size(rate)}/s, ${time((total.bytes - bytes) / rate)} left` : "";
  };

  // What is said already is not said again: it is read out loud.
  const say = (words, news = words) => {
    at("state").textContent = words;
    if (at("said").textContent !== news) at("said").textContent = news;
  };

  const show = () => {
    const all = total.files.toLocaleString("en");
    if (isPaused) return say(`Paused after ${count(sent.files, "file")} of ${all}.`);
    const bytes = bytesSent();
    at("bar").value = total.bytes ? bytes / total.bytes : 0;
    say(
      `${sent.files.toLocaleString("en")} of ${count(total.files, "file")}, ${size(bytes)} of ${size(total.bytes)}${pace(bytes)}`,
      isAway ? away() : "Sending …",
    );
  };

  const setAway = (is) => {
    if (is === isAway) return;
    isAway = is;
    startClock();
    if (isBusy) show();
  };

  // What keeps the upload from going on, and what to do about it.
  const tell = (...words) => {
    at("told").replaceChildren(...words);
    at("told").hidden = !words.length;
  };

  const complain = (title, lines) => {
    const list = document.createElement("ul");
    lines.slice(0, 20).forEach((line) => list.appendChild(document.createElement("li")).append(line));
    if (lines.length > 20) list.appendChild(document.createElement("li")).append(`and ${count(lines.length - 20, "more file")}`);
    const head = document.createElement("p");
    head.append(title);
    // Here too, what is said already is not said again.
    if (at("error").textContent !== head.textContent + list.textContent) at("error").replaceChildren(head, list);
    at("error").hidden = false;
  };

  // Nothing is under way any more; what was sent stays on the site.
  const stop = () => {
    round += 1;
    clearTimeout(settling);
    running.forEach((each) => each.upload.abort());
    running.clear();
    waiting = [];
  };

  const setPaused = (is) => {
    isPaused = is;
    at("pause").textContent = is ? "Go on" : "Pause";
    at("pause").classList.toggle("button-plain", !is);
  };

  const halt = (...words) => {
    stop();
    setPaused(true);
    at("pause").hidden = at("progress").hidden = false;
    at("choice").hidden = true;
    at("drop").hidden = true;
    tell(...words);
    show();
  };

  const end = (...words) => {
    stop();
    isBusy = false;
    ["drop", "progress", "choice", "error", "resumed"].forEach((name) => { at(name).hidden = true; });
    tell(...words);
  };

  const done = (entry) => {
    running.delete(entry.path);
    sent.files += 1;
    sent.bytes += entry.file.size;
    show();
    next();
  };

  const leaveOut = (entry, reason) => {
    total.files -= 1;
    total.bytes -= entry.file.size;
    refusals.set(entry.path, reason);
    complain(`${count(refusals.size, "file")} could not be sent:`, [...refusals].map((each) => each.join(": ")));
  };

  const refuse = (entry, reason) => {
    running.delete(entry.path);
    leaveOut(entry, reason);
    next();
  };

  const reasonOf = (answer) => {
    if (!answer) return "the site did not answer.";
    const isPlain = (answer.getHeader("Content-Type") || "").startsWith("text/plain");
    return isPlain ? answer.getBody() : `the site answered with ${answer.getStatus()}.`;
  };

  const shouldRetry = (entry, task, { error, attempt }) => {
    const status = error.originalResponse?.getStatus() || 0;
    if (status === 409 || status === 423) return true;
    if (status !== 0 && (status < 500 || status === 507)) return false;
    if (status === 500 && attempt >= FAULTS) return false;
    setAway(true);
    // The browser does not tell a lost connection from a file that it cannot read any more.
    entry.file.slice(0, 1).arrayBuffer().catch(() => {
      if (running.get(entry.path) !== task) return;
      task.upload.abort();
      setAway(false);
      refuse(entry, "it was changed or removed on this computer since it was chosen.");
    });
    return true;
  };

  const send = (entry) => {
    const task = { bytes: 0 };
    task.upload = new tus.Upload(entry.file, {
      endpoint: form.dataset.files,
      uploadUrl: entry.address,
      chunkSize: PIECE,
      uploadDataDuringCreation: true,
      storeFingerprintForResuming: false,
      retryDelays: RETRIES,
      metadata: { path: entry.path },
      onBeforeRequest: (request) => request.setHeader("X-CSRFToken", token()),
      onAfterResponse: (_, answer) => { moved = performance.now(); if (answer.getStatus() < 500) setAway(false); },
      onShouldRetry: (error, attempt) => shouldRetry(entry, task, { error, attempt }),
      onProgress: (bytes) => {
        if (bytes > task.bytes) { moved = performance.now(); setAway(false); }
        task.bytes = bytes;
        show();
      },
      onSuccess: () => done(entry),
      onError: (error) => {
        const answer = error.originalResponse;
        const status = answer?.getStatus();
        if (status === 401 || status === 403) return explain(status);
        // What is known decides: a first answer that was lost may have made the file, another window may have ended the upload.
        if ([400, 404, 410].includes(status) && !entry.isAsked) return askAgain(entry, task, answer);
        refuse(entry, reasonOf(answer));
      },
    });
    running.set(entry.path, task);
    task.upload.start();
  };

  // Asks until the site answers: it may be away for a moment here as well.
  const ask = async (address, method = "GET") => {
    for (;;) {
      let isLocked = false;
      try {
        const answer = await fetch(address, { method, headers: { "X-CSRFToken": token() } });
        isLocked = answer.status === 423;
        if (answer.status < 502 && !isLocked) return answer;
      } catch { /* no connection */ }
      say(isLocked ? "A piece of this file is being sent: waiting for its end …" : away());
      await new Promise((resolve) => { setTimeout(resolve, LOOK_AGAIN); });
    }
  };

  const explain = async (status, words = "") => {
    if (status === 401) {
      const login = Object.assign(link(form.dataset.login, "Log in again in another tab"), { target: "_blank" });
      return halt("You were logged out. ", login, ", then go on here. Nothing that was sent is lost.");
    }
    if (status === 403) return halt("The site does not let you send files any more. Ask an administrator, or log in as yourself in another tab, then go on here.");
    if (status === 410) return end(words, " ", link(form.dataset.dataset, "See the dataset"));
    if (status !== 404) return halt(words || `The site answered with ${status}. Nothing that was sent is lost. Go on in a while.`);
    const isThere = (await ask(form.dataset.dataset)).status !== 404;
    if (!isThere) return end("The dataset was deleted, and with it what was sent of this upload. ", link(form.dataset.datasets, "See the datasets"));
    return end("This upload is no longer there: it was discarded in another window, or you are logged in as somebody else. ", link(window.location.href, "Begin anew"));
  };
  const explainAnswer = async (answer) => {
    const isPlain = (answer.headers.get("Content-Type") || "").startsWith("text/plain");
    return explain(answer.status, isPlain ? await answer.text() : "");
  };

  // {path: [address, size, received]}, or null where the upload cannot go on: then the page says so.
  const known = async () => {
    const answer = await ask(form.dataset.known);
    if (!answer.ok) { await explainAnswer(answer); return null; }
    const { files, finished } = await answer.json();
    if (!finished) return files;
    end("This upload was finished in another window. ", link(finished, "See its import"));
    return null;
  };

  const askAgain = async (entry, task, answer) => {
    const here = await known();
    if (!here || running.get(entry.path) !== task) return;
    const [address, length, received] = here[entry.path] || [null, entry.file.size, 0];
    if (length !== entry.file.size || (!address && answer.getStatus() === 400)) refuse(entry, reasonOf(answer));
    else if (address && received === length) done(entry);
    else send({ ...entry, address, isAsked: true });
  };

  const next = () => {
    while (!isPaused && running.size < AT_ONCE && waiting.length) send(waiting.pop());
    if (!waiting.length && !running.size && isBusy && !isPaused) refusals.size ? settle() : finish();
  };

  const finish = async () => {
    say("Everything is here. Starting the import …");
    at("pause").hidden = true;
    const answer = await ask(form.dataset.finish, "POST");
    if (answer.status === 400) return settle();
    if (!answer.ok) return explainAnswer(answer);
    isBusy = false;
    window.location.assign((await answer.json()).address);
  };

  // Something is not here: the person decides. Another window may be sending it, so this one looks again.
  const settle = async (pause = LOOK_AGAIN) => {
    isBusy = false;
    const mine = round;
    const here = await known();
    if (!here || mine !== round) return;
    const missing = new Map(refusals);
    let complete = 0;
    for (const [path, [, length, received]] of Object.entries(here)) {
      if (received === length) complete += 1;
      else if (!missing.has(path)) missing.set(path, "only a part of it is here. Another window may be sending it; otherwise choose it again.");
    }
    say(`${complete ? count(complete, "file") : "Nothing"} of this upload ${complete > 1 ? "are" : "is"} here completely.`);
    if (missing.size) complain(`${count(missing.size, "file")} ${missing.size > 1 ? "are" : "is"} not here:`, [...missing].map((each) => each.join(": ")));
    else at("error").hidden = true;
    at("without").textContent = `Import ${complete === 1 ? "the one that is" : `the ${complete.toLocaleString("en")} that are`} here`;
    at("without").hidden = !complete;
    at("bar").hidden = at("pause").hidden = true;
    at("choice").hidden = at("drop").hidden = false;
    // Ever more seldom: the answer has a line for each file, and nobody may come back for days.
    settling = setTimeout(settle, pause, Math.min(2 * pause, MOST_SELDOM));
  };

  // As at first, or to go on: only what is missing is sent.
  const begin = async (entries) => {
    if (!entries.length) {
      tell(unread.length ? "Nothing of this could be read on this computer." : "That was no file. Drop files, folders or zips.");
      return;
    }
    const bytes = entries.reduce((sum, each) => sum + each.file.size, 0);
    if (bytes > Number(form.dataset.most)) {
      tell(`These files have ${size(bytes)}; an upload has at most ${size(Number(form.dataset.most))}. Send them in parts.`);
      return;
    }
    stop();
    ["drop", "resumed", "choice", "error"].forEach((name) => { at(name).hidden = true; });
    ["progress", "bar", "pause"].forEach((name) => { at(name).hidden = false; });
    setPaused(false);
    tell();
    refusals.clear();
    unread.forEach((path) => refusals.set(path, "it could not be read on this computer."));
    chosen = entries;
    isBusy = true;
    isAway = false;
    const mine = round;
    const here = await known();
    if (!here || mine !== round) return;
    total = { files: chosen.length, bytes };
    sent = { files: 0, bytes: 0 };
    for (const entry of chosen) {
      const [address, length, received] = here[entry.path] || [null, entry.file.size, 0];
      if (address && length === entry.file.size && received === length) {
        sent.files += 1;
        sent.bytes += entry.file.size;
      } else if (address && length !== entry.file.size) {
        leaveOut(entry, "another file of this name was sent before. Discard that upload first, or rename this file.");
      } else {
        waiting.push({ ...entry, address });
      }
    }
    waiting.reverse();
    startClock();
    show();
    next();
  };

  form.addEventListener("reading", () => tell("Reading the folder …"));
  form.addEventListener("chosen", (event) => { unread = event.detail.unread; begin(event.detail.files); });
  at("pause").addEventListener("click", () => (isPaused ? begin(chosen) : halt()));
  at("again").addEventListener("click", () => begin(chosen));
  at("without").addEventListener("click", async () => {
    stop();
    isBusy = true;
    ["drop", "choice", "error"].forEach((name) => { at(name).hidden = true; });
    const here = await known();
    if (!here) return;
    for (const [address, length, received] of Object.values(here)) if (received < length) await ask(address, "DELETE");
    finish();
  });
  at("discard").addEventListener("click", async () => {
    if (!window.confirm("Delete what was sent of this upload?")) return;
    await ask(form.dataset.discard, "POST");
    window.location.reload();
  });
  window.addEventListener("offline", () => setAway(running.size > 0));
  setInterval(() => { if (running.size) show(); }, 1000);
  window.addEventListener("beforeunload", (event) => { if (isBusy) event.preventDefault(); });
}
