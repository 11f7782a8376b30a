"""Chromium, driven through ChromeDriver: as much of the WebDriver protocol as the page tests need. Standard
library only."""

import base64
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"]
KEYS = {
    "left": "\ue012", "up": "\ue013", "right": "\ue014", "down": "\ue015", "escape": "\ue00c",
    "tab": "\ue004", "enter": "\ue007"}


class Browser:
    def __init__(self, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
        self.base = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                urllib.request.urlopen(self.base + "/status", timeout=5).read()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        options = {"args": FLAGS + [f"--user-data-dir={folder}"]}
        wanted = {
            "capabilities": {
                "alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}}
        self.base += "/session/" + self.call("POST", "/session", wanted)["sessionId"]

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"},
                                         method=method)
        try:
            return json.load(urllib.request.urlopen(request, timeout=60))["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode()[:600]) from None

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *arguments):
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def key(self, key):
        self.call(
            "POST", "/actions", {
                "actions": [{
                    "type": "key", "id": "keys", "actions": [{"type": "keyDown", "value": KEYS.get(
                        key, key)}, {"type": "keyUp", "value": KEYS.get(key, key)}]}]})

    def move(self, x, y):
        self.call(
            "POST", "/actions", {
                "actions": [{
                    "type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [{
                        "type": "pointerMove", "duration": 0, "x": round(x), "y": round(y),
                        "origin": "viewport"}]}]})

    def click(self, x, y):
        self.call(
            "POST", "/actions", {
                "actions": [{
                    "type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": [{
                        "type": "pointerMove", "duration": 0, "x": round(x), "y": round(y),
                        "origin": "viewport"}, {"type": "pointerDown", "button": 0}, {
                            "type": "pointerUp", "button": 0}]}]})

    def wait_ready(self):
        for _ in range(200):
            if self.run("return document.body.dataset.ready === 'yes'"):
                return
            time.sleep(0.02)

    def size(self, width, height):
        self.call(
            "POST", "/goog/cdp/execute", {
                "cmd": "Emulation.setDeviceMetricsOverride", "params": {
                    "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}})

    def prefer(self, dark=False, still=False):
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
                    {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"}]
        self.call("POST", "/goog/cdp/execute",
                  {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}})

    def screenshot(self, file):
        file.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))

    def console(self):
        return [
            entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})
            if entry["level"] in ("SEVERE", "WARNING")]

    def close(self):
        try:
            self.call("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()
