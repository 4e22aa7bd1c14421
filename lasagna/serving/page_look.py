"""HTML, JavaScript and CSS of the page; nothing in them is loaded from elsewhere."""

PICTURE = """<label class="drop">
<input type="file" accept="image/png,image/jpeg,image/webp,image/gif,image/bmp">
${value ? `<img alt="picture" src="${value}">` : "<span>Drop a picture here, or click to choose one</span>"}
</label>"""
"""The place for the picture, which stays in the browser as its value."""

DROP = """
const read = (file) => {
  if (!file) return;
  const reader = new FileReader();
  reader.onload = () => { props.value = reader.result; trigger("upload"); };
  reader.readAsDataURL(file);
};
element.addEventListener("change", (event) => read(event.target.files[0]));
element.addEventListener("dragover", (event) => event.preventDefault());
element.addEventListener("drop", (event) => { event.preventDefault(); read(event.dataTransfer.files[0]); });
"""
"""Reads a file in the browser, so that it travels as text and never becomes a file on the server."""

STYLE = """
#stage, #stage > .styler { display: grid; overflow: hidden; }
#picture, #overlay { grid-area: 1 / 1; }
#overlay { pointer-events: none; z-index: 1; }
#picture .drop { display: grid; min-height: 16em; place-items: center; cursor: pointer; }
#picture .drop:has(img) { min-height: 0; }
#picture input { display: none; }
#picture img, #overlay img { display: block; width: 100%; margin: 0; }
.legend { list-style: none; margin: 0; padding: 0; max-height: 24em; overflow: auto; }
.legend li { display: flex; gap: .5em; align-items: center; margin: .15em 0; }
.legend i { width: 1em; height: 1em; border: 1px solid #999; flex: none; }
.legend b { margin-left: auto; font-variant-numeric: tabular-nums; font-weight: normal; }
.files a { text-decoration: underline; margin-left: .5em; }
"""
