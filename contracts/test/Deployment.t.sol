// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../src/IRollup.sol";
import {Keys} from "../src/libraries/Keys.sol";
import {Fixture} from "./support/Fixture.sol";
import {G2} from "./support/G2.sol";

/// @title What the constructor refuses, each with an error of its own, and the most it takes
contract DeploymentTest is Fixture {
    address private constant ELSEWHERE = address(0x5e5e);

    function setUp() public {
        deploy();
    }

    function deploys(IRollup.Params memory p) external {
        construct(ELSEWHERE, p);
    }

    function refuses(IRollup.Params memory p, bytes memory error) private {
        vm.expectRevert(error);
        this.deploys{gas: 100_000_000}(p);
    }

    function test_state_size() public {
        IRollup.Params memory p = params();
        p.k = 15;
        refuses(p, abi.encodeWithSelector(IRollup.StateSizeOutOfRange.selector, 15));
        p.k = 25;
        refuses(p, abi.encodeWithSelector(IRollup.StateSizeOutOfRange.selector, 25));
        p.k = 16 + 256;
        refuses(p, abi.encodeWithSelector(IRollup.StateSizeOutOfRange.selector, 272));
        p.k = 24;
        this.deploys(p);
    }

    function test_operator_fees_and_timeouts() public {
        IRollup.Params memory p = params();
        p.operator = address(0);
        refuses(p, abi.encodeWithSelector(IRollup.OperatorIsZero.selector));
        p = params();
        p.queueFee = 0.1 ether + 1;
        refuses(p, abi.encodeWithSelector(IRollup.QueueFeeTooHigh.selector, 0.1 ether + 1));
        p = params();
        p.forceTimeout = 0;
        refuses(p, abi.encodeWithSelector(IRollup.TimeoutOutOfRange.selector, 0));
        p = params();
        p.proveTimeout = 1 << 32;
        refuses(p, abi.encodeWithSelector(IRollup.TimeoutOutOfRange.selector, 1 << 32));
    }

    function test_circuit_count() public {
        IRollup.Params memory p = params();
        p.circuits = new IRollup.VerifyingKey[](0);
        refuses(p, abi.encodeWithSelector(IRollup.CircuitCountOutOfRange.selector, 0));
        p.circuits = new IRollup.VerifyingKey[](33);
        refuses(p, abi.encodeWithSelector(IRollup.CircuitCountOutOfRange.selector, 33));
    }

    function test_shapes() public {
        IRollup.Params memory p = params();
        p.circuits[1].shape.deposits = 0;
        refuses(p, abi.encodeWithSelector(IRollup.ShapeNotSupported.selector, 2));
        p.circuits[1].shape.deposits = 1 << 16;
        refuses(p, abi.encodeWithSelector(IRollup.ShapeNotSupported.selector, 2));
        p.circuits[1].shape.deposits = 3;
        p.circuits[1].shape.exits = 1;
        refuses(p, abi.encodeWithSelector(IRollup.ShapeNotSupported.selector, 2));
        (p.circuits[1].shape.exits, p.circuits[1].shape.rotations) = (0, 1);
        refuses(p, abi.encodeWithSelector(IRollup.ShapeNotSupported.selector, 2));
        (p.circuits[1].shape.rotations, p.circuits[1].shape.registers) = (0, 1);
        refuses(p, abi.encodeWithSelector(IRollup.ShapeNotSupported.selector, 2));
        p.circuits[1].shape.registers = 0;
        this.deploys(p);
        vm.assertEq(IRollup(ELSEWHERE).queueRate(), 3);
    }

    function test_code_is_as_small_as_a_chain_asks() public view {
        vm.assertLe(address(rollup).code.length, 24_576, "size limit of EIP-170");
    }

    /// @dev The keys' contract then has 24,449 bytes of code; 24,576 are allowed.
    function test_as_many_circuits_as_code_holds() public {
        IRollup.Params memory p = params();
        IRollup.VerifyingKey[] memory two = p.circuits;
        p.circuits = new IRollup.VerifyingKey[](32);
        uint256[4] memory delta = G2.generator();
        for (uint256 i; i < 32; ++i) {
            p.circuits[i] = abi.decode(abi.encode(two[0]), (IRollup.VerifyingKey));
            delta = G2.double(delta);
            if (i != 30) p.circuits[i].delta = delta;
        }
        // the last but one keeps the key of the fixtures, and the last can be read as well
        p.circuits[31].shape.deposits = 7;
        this.deploys(p);
        vm.assertEq(IRollup(ELSEWHERE).circuitCount(), 32);
        vm.assertEq(IRollup(ELSEWHERE).queueRate(), 7);
        address keys = IRollup(ELSEWHERE).keys();
        vm.assertEq(keys.code.length, 1 + 32 * (28 + 23 * 32));
        vm.assertEq(abi.encode(Keys.readCircuit(keys, 31).delta), abi.encode(two[0].delta));
        vm.assertEq(abi.encode(Keys.readCircuit(keys, 32).delta), abi.encode(p.circuits[31].delta));
        vm.assertEq(Keys.readShape(keys, 32).deposits, 7);
    }

    function test_delta_that_is_gamma() public {
        IRollup.Params memory p = params();
        p.circuits[0].delta = G2.generator();
        refuses(p, abi.encodeWithSelector(IRollup.DeltaIsGamma.selector, 1));
        p = params();
        p.circuits[1].delta = G2.opposite(G2.generator());
        refuses(p, abi.encodeWithSelector(IRollup.DeltaIsGamma.selector, 2));
    }

    function test_delta_of_another_circuit() public {
        IRollup.Params memory p = params();
        p.circuits[1].delta = p.circuits[0].delta;
        refuses(p, abi.encodeWithSelector(IRollup.DeltaRepeated.selector, 2));
        p.circuits[1].delta = G2.opposite(p.circuits[0].delta);
        refuses(p, abi.encodeWithSelector(IRollup.DeltaRepeated.selector, 2));
    }

    function test_points_of_the_keys() public {
        IRollup.Params memory p = params();
        p.alpha = [uint256(0), 0];
        refuses(p, abi.encodeWithSelector(IRollup.UnusableG1Point.selector, 0, 0));
        p = params();
        p.l0[17] = addmod(p.l0[17], 1, P);
        refuses(p, abi.encodeWithSelector(IRollup.UnusableG1Point.selector, p.l0[16], p.l0[17]));
        p = params();
        p.circuits[0].ic[18] = P;
        refuses(p, abi.encodeWithSelector(IRollup.UnusableG1Point.selector, P, p.circuits[0].ic[19]));
        p = params();
        p.beta = strayG2();
        refusesG2(p, p.beta);
        p = params();
        p.circuits[0].delta = strayG2();
        refusesG2(p, p.circuits[0].delta);
    }

    function test_tau() public {
        IRollup.Params memory p = params();
        p.tau = G2.generator();
        refusesG2(p, p.tau);
        p.tau = G2.opposite(G2.generator());
        refusesG2(p, p.tau);
        p.tau = [uint256(0), 0, 0, 0];
        refusesG2(p, p.tau);
    }

    /// @dev Somebody holds the address that the keys would get.
    function test_keys_that_cannot_be_stored() public {
        vm.etch(vm.computeCreateAddress(ELSEWHERE, vm.getNonce(ELSEWHERE)), hex"00");
        refuses(params(), abi.encodeWithSelector(IRollup.KeysNotStored.selector));
    }

    function refusesG2(IRollup.Params memory p, uint256[4] memory point) private {
        refuses(p, abi.encodeWithSelector(IRollup.UnusableG2Point.selector, point[0], point[1], point[2], point[3]));
    }
}
