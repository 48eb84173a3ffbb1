//! CRC-64 with the ECMA polynomial, reflected, as `crc64fast` computes it in TiKV (CRC-64/XZ).

const POLYNOMIAL: u64 = 0xc96c_5795_d787_0f42;
const TABLE: [u64; 256] = table();

#[allow(
    clippy::indexing_slicing,
    reason = "evaluated at compile time, where a wrong index is a compile error"
)]
const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < u8::BITS {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// The checksum of `parts` one after the other.
pub(super) fn crc64(parts: &[&[u8]]) -> u64 {
    !parts.iter().copied().flatten().fold(u64::MAX, |crc, &byte| {
        let [low, ..] = crc.to_le_bytes();
        let entry = TABLE.get(usize::from(low ^ byte)).copied().unwrap_or_default();
        (crc >> 8) ^ entry
    })
}

#[cfg(test)]
mod tests {
    use super::crc64;

    #[test]
    fn the_check_value_of_the_algorithm() {
        assert_eq!(crc64(&[b"123456789"]), 0x995d_c9bb_df19_39fa);
        assert_eq!(crc64(&[b"1234", b"", b"56789"]), 0x995d_c9bb_df19_39fa);
        assert_eq!(crc64(&[]), 0);
    }
}
