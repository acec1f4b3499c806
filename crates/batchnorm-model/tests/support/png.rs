//! PNG files for tests, by nothing that reads them.

/// A picture of colours in 8 bits, row by row, with 3 channels, or 4 with alpha.
pub fn png(width: usize, channels: usize, pixels: &[u8]) -> Vec<u8> {
    assert_eq!(pixels.len() % (width * channels), 0);
    let height = pixels.len() / (width * channels);
    let colour = if channels == 4 { 6 } else { 2 };
    let header = [&(width as u32).to_be_bytes()[..], &(height as u32).to_be_bytes(), &[8, colour, 0, 0, 0]].concat();
    // Each row without a filter; deflated as blocks that are stored.
    let rows: Vec<u8> = pixels.chunks(width * channels).flat_map(|row| [&[0], row].concat()).collect();
    let mut data = vec![0x78, 0x01];
    let mut blocks = rows.chunks(60_000).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        data.push(u8::from(blocks.peek().is_none()));
        data.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
        data.extend(block);
    }
    let (one, two) = rows.iter().fold((1u32, 0u32), |(one, two), &byte| {
        let one = (one + u32::from(byte)) % 65_521;
        (one, (two + one) % 65_521)
    });
    data.extend((two << 16 | one).to_be_bytes());
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), chunk(b"IDAT", &data), chunk(b"IEND", b"")].concat()
}

fn chunk(name: &[u8], content: &[u8]) -> Vec<u8> {
    let named = [name, content].concat();
    let mut rest = !0u32;
    for &byte in &named {
        rest ^= u32::from(byte);
        for _ in 0..8 {
            rest = if rest & 1 == 1 { rest >> 1 ^ 0xedb8_8320 } else { rest >> 1 };
        }
    }
    [&(content.len() as u32).to_be_bytes()[..], &named, &(!rest).to_be_bytes()].concat()
}
