// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./support/Fixture.sol";

/// @title No byte of a proof's calldata is free
contract FlippedByteTest is Fixture {
    /// Batch 2: transfers, a withdrawal, a deposit and a refund.
    uint256 private constant NUMBER = 2;
    /// Selector, old commitments, offset, length, the proof's 31 words.
    uint256 private constant LENGTH = 4 + 32 * (6 + 1 + 1 + 31);

    bytes private call;
    bytes32 private rootBefore;

    function setUp() public {
        deployWithQueue();
        commitFixtures(1, NUMBER);
        proveFixtures(1, NUMBER - 1);
        call = abi.encodeCall(IRollup.prove, (oldCommitments(NUMBER), proofsOf(NUMBER, NUMBER)));
        vm.assertEq(call.length, LENGTH);
        rootBefore = rollup.stateRoot();
    }

    function test_call_as_it_is() public {
        (bool ok,) = address(rollup).call{gas: 5_000_000}(call);
        vm.assertTrue(ok && rollup.stateRoot() == newRoot(NUMBER));
    }

    function testFuzz_one_flipped_byte(uint256 place, uint8 change) public {
        bytes memory data = call;
        place %= LENGTH;
        data[place] ^= bytes1(change == 0 ? 0xff : change);
        (bool ok,) = address(rollup).call{gas: 5_000_000}(data);
        vm.assertFalse(ok);
        vm.assertEq(rollup.stateRoot(), rootBefore);
        vm.assertEq(rollup.proven(), NUMBER - 1);
    }

    /// @dev Every word of the call once, its lowest bit.
    function test_lowest_bit_of_every_word() public {
        for (uint256 place = 35; place < LENGTH; place += 32) {
            bytes memory data = call;
            data[place] ^= 0x01;
            (bool ok,) = address(rollup).call{gas: 5_000_000}(data);
            vm.assertFalse(ok);
        }
        vm.assertEq(rollup.stateRoot(), rootBefore);
    }
}
